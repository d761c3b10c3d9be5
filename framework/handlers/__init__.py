"""When things happen: objects with `on_<event>` hooks, for `handlers=`."""

from framework.handlers.device_memory import DeviceMemory
from framework.handlers.early_stopping import EarlyStopping
from framework.handlers.ema import EMA
from framework.handlers.norms import Norms
from framework.handlers.progress import Progress
from framework.handlers.timers import Timers

__all__ = ["EMA", "DeviceMemory", "EarlyStopping", "Norms", "Progress", "Timers"]
