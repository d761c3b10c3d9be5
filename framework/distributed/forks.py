"""Forks of a process that has worked with others, such as the workers of a DataLoader."""

from __future__ import annotations

import gc
import os
from functools import cache

_collects: list[bool] = []  # whether garbage was collected before the fork


@cache
def keep_from_collecting() -> None:
    """Lets the forks of this process collect no garbage that was there before, from now on.

    A run leaves cycles that hold torch's groups, whose threads are not in the fork: to free them there hangs or crashes.
    """
    if hasattr(os, "register_at_fork"):  # elsewhere there are no forks
        os.register_at_fork(before=_pause, after_in_parent=_go_on, after_in_child=_leave)


def _pause() -> None:
    _collects.append(gc.isenabled())
    gc.disable()  # until it is left: what others do after the fork may collect as well


def _go_on() -> None:
    if _collects.pop():
        gc.enable()


def _leave() -> None:
    gc.freeze()
    _go_on()
