"""When things happen: objects with `on_<event>` hooks, for `handlers=`."""

from framework.handlers.progress import Progress

__all__ = ["Progress"]
