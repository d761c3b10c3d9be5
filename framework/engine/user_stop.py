"""Tells the end of the data from a StopIteration that user code let slip."""

from __future__ import annotations

import traceback
from types import FrameType

# A dataset or collate function that runs in the main process, and torch's own frame for one that ran in a worker.
_USER_FUNCTIONS = ("__getitem__", "__getitems__", "reraise")


def refuse_user_stop_iteration(end: StopIteration) -> None:
    """Raises if `end` does not mean that the data is used up but escaped from a dataset or a collate function.

    Raises:
        RuntimeError: chained from `end`, naming where it was raised.
    """
    frames = [frame for frame, _ in traceback.walk_tb(end.__traceback__)]
    innermost = frames[-1]
    if innermost.f_code.co_name in _USER_FUNCTIONS or _called_by_loader(frames):
        raise stray_stop_iteration(end) from end


def stray_stop_iteration(end: StopIteration) -> RuntimeError:
    """Builds the error for a StopIteration that user code raised, naming the place."""
    place = traceback.extract_tb(end.__traceback__)[-1]
    return RuntimeError(
        f"StopIteration was raised in {place.name} ({place.filename}, line {place.lineno}). In a step, a handler, a dataset or a "
        "collate function it would look like the end of the data; raise another exception, or use next(iterator, default)."
    )


def _called_by_loader(frames: list[FrameType]) -> bool:
    """Tells whether a torch loader called the innermost frame to fetch or collate samples, as opposed to iterate a dataset."""
    innermost = frames[-1].f_code
    fetching = [frame for frame in frames if frame.f_code.co_name == "fetch" and "torch" in frame.f_code.co_filename]
    return bool(fetching) and fetching[-1] is not frames[-1] and innermost.co_name != "__next__"
