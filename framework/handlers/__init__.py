"""When things happen: objects with `on_<event>` hooks, for `handlers=`."""

from framework.handlers.early_stopping import EarlyStopping
from framework.handlers.ema import EMA
from framework.handlers.progress import Progress

__all__ = ["EMA", "EarlyStopping", "Progress"]
