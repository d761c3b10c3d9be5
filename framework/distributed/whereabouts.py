"""Where a rank is: what it tells the others while one of them waits, and what follows from it."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType
from typing import NamedTuple

import torch

_TORCH = Path(torch.__file__).parent
_WAITS = tuple(str(_TORCH / each) for each in ("distributed", "autograd/graph.py"))
_EXCHANGE = str(Path(__file__).parent / "exchange.py")


class Whereabouts(NamedTuple):
    """Where a rank is.

    Attributes:
        iteration: that it has begun last.
        made: how many exchanges it has begun.
        tag: what it waits in; None where it waits in no exchange.
    """

    iteration: int = 0
    made: int = 0
    tag: str | None = None


def never_meet(waits: Whereabouts, other: Whereabouts) -> bool:
    """Tells whether a rank that waits in an exchange waits for nothing: the other went past that point of its program without it.

    It has begun a later iteration and made fewer exchanges; both counts only grow. A rank that takes long is no such case.

    Example:
        >>> from framework.distributed.whereabouts import Whereabouts, never_meet
        >>> never_meet(Whereabouts(10, 3, "the end of epoch 1"), Whereabouts(11, 2))
        True
        >>> never_meet(Whereabouts(10, 3, "the end of epoch 1"), Whereabouts(10, 2))  # it may be in a long hook
        False
    """
    return other.iteration > waits.iteration and other.made < waits.made


def wait_for_others(thread: int | None) -> str | None:
    """Returns where a thread waits for other ranks, `backward (train.py:30)` for instance; None where it does something else.

    Args:
        thread: its ident.
    """
    innermost = sys._current_frames().get(thread or 0)
    if innermost is None or not _waits(innermost):
        return None
    frame: FrameType | None = innermost
    while frame is not None and frame.f_code.co_filename.startswith((str(_TORCH), _EXCHANGE)):
        frame = frame.f_back
    call = innermost.f_code.co_name.strip("_")
    return call if frame is None else f"{call} ({Path(frame.f_code.co_filename).name}:{frame.f_lineno})"


def _waits(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith((*_WAITS, _EXCHANGE))
