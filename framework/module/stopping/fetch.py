"""Tells whether the main thread is fetching a batch, and where in it, so that the handler of a signal may leave the wait for it."""

from __future__ import annotations

from types import FrameType

from framework.engine.engine import Engine
from framework.engine.events import Events
from framework.engine.loop import _iterate

_FEEDS = ("framework.data", "framework.backends")  # the families whose code a batch passes through
_RANDOM = ("random", "torch.random")  # which put the streams of random numbers back
_LOCKING = ("threading", "queue", "multiprocessing")  # hold locks, or parts of a message, unless they are waiting


def inside_fetch(frame: FrameType | None, engine: Engine) -> bool:
    """Tells whether the main thread is fetching a batch for `engine`, where `Paused` may be raised from a signal handler.

    `position.pause(Events.GET_BATCH_STARTED)` and `raise Paused` then leave the engine as it was before the fetch. The batch under
    way is lost, so the data are not to be asked again but taken up anew, by count. Any of the code that makes batches may be left,
    except our own, and where it holds locks, or puts a `with` statement or random streams back.

    Args:
        frame: what the signal handler received.
        engine: a running engine. While another one runs inside it, in a handler or in the data, it is not fetching.
    """
    if engine.last_event_name != Events.GET_BATCH_STARTED:  # it is from just before the fetch until the batch is there
        return False
    between: list[FrameType] = []
    while frame is not None and frame.f_code is not _iterate.__code__:
        between.append(frame)
        frame = frame.f_back
    if frame is None or not between or frame.f_locals["engine"] is not engine:  # in the loop's own frame a batch may just have come
        return False
    waiting = False
    for inner in between:
        waiting = waiting or _waits(inner, innermost=inner is between[0])
        if not _can_be_left(inner, innermost=inner is between[0], waiting=waiting):
            return False
    return True


def _waits(frame: FrameType, *, innermost: bool) -> bool:
    """Tells whether Python's own function waits here and has taken nothing; `Condition.wait` can be left once it has a `gotit`."""
    place = _place(frame)
    return place == ("multiprocessing.connection", "wait") or (
        innermost and place == ("threading", "wait") and "gotit" in frame.f_locals
    )


def _can_be_left(frame: FrameType, *, innermost: bool, waiting: bool) -> bool:
    """Tells whether an exception raised here, or by what this frame has called, leaves nothing half-done but the batch."""
    module, name = _place(frame)
    if _is_in(module, ("framework",)) and (innermost or not _is_in(module, _FEEDS)):
        return False
    return not (name in ("__enter__", "__exit__") or module in _RANDOM or (_is_in(module, _LOCKING) and not waiting))


def _place(frame: FrameType) -> tuple[str, str]:
    return frame.f_globals.get("__name__", ""), frame.f_code.co_name


def _is_in(module: str, families: tuple[str, ...]) -> bool:
    return any(module == family or module.startswith(f"{family}.") for family in families)
