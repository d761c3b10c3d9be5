"""Tells the end of the data from a StopIteration that user code let slip."""

from __future__ import annotations

import traceback
from itertools import pairwise
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
    where = f"{place.name} ({place.filename}, line {place.lineno})"
    if place.name == "reraise":  # the worker's own traceback is the text of the error
        where = f"a worker of the DataLoader:\n{end}\n"
    return RuntimeError(
        f"StopIteration was raised in {where}. In a step, a handler, a dataset or a "
        "collate function it would look like the end of the data; raise another exception, or use next(iterator, default)."
    )


def _called_by_loader(frames: list[FrameType]) -> bool:
    """Tells whether a torch loader was getting or collating samples, as opposed to asking an iterable dataset for its next."""
    callees = [
        called for caller, called in pairwise(frames) if caller.f_code.co_name == "fetch" and "torch" in caller.f_code.co_filename
    ]
    return bool(callees) and callees[-1].f_code.co_name != "__next__"
