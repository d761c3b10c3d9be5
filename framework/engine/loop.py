"""The loop: epochs of iterations, every event in its place. There is no other."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from itertools import repeat
from time import perf_counter
from typing import TYPE_CHECKING, Any

from framework.engine.dispatch import Slot
from framework.engine.events import Events
from framework.engine.limits import EmptyDataError, is_done, write_epoch_length
from framework.engine.position import Position, Restart
from framework.engine.user_stop import refuse_user_stop_iteration

if TYPE_CHECKING:
    from framework.engine.engine import Engine

_SILENT = Slot("", None)
_IN_ITERATION = (Events.GET_BATCH_STARTED, Events.DATALOADER_STOP_ITERATION, Events.GET_BATCH_COMPLETED, Events.ITERATION_STARTED)
_IN_EPOCH = (Events.EPOCH_STARTED, *_IN_ITERATION, Events.ITERATION_COMPLETED, Events.TERMINATE_SINGLE_EPOCH)


# Requests, not errors: they derive from BaseException so that no `except Exception` in a user's code swallows them.


class Terminated(BaseException):
    """Someone asked for the end of the run."""


class EpochTerminated(BaseException):
    """Someone asked for the end of the epoch."""


class Paused(BaseException):
    """Someone asked to interrupt the run."""


def run_epochs(engine: Engine, position: Position) -> None:
    """Runs the epochs from `position` on.

    Raises:
        Terminated, Paused: someone asked for it.
        BaseException: whatever the step, a handler or the data raised.
    """
    state, slots = engine.state, engine._table.slots
    if position.after is None:
        engine._fire(slots[Events.STARTED])
        _obey(engine, position, Events.STARTED)
    elif position.restart is not None:
        _restart(engine, position, position.restart)
    inside = _iterations_before(engine) if position.after in (None, Events.STARTED) else 0
    while position.after in _IN_EPOCH or not (is_done(state) or (position.used_up and state.max_iters is not None)):
        if position.after not in _IN_EPOCH:
            position.after = None
            state.epoch += 1
            position.epoch_start, inside = state.iteration - inside, 0
            position.epoch_began = perf_counter()
            engine.should_terminate_single_epoch = False
            engine._fire(slots[Events.EPOCH_STARTED])
            _obey(engine, position, Events.EPOCH_STARTED)
        if position.after != Events.TERMINATE_SINGLE_EPOCH and not _run_iterations(engine, position):
            position.feed, position.refilled = None, False
            done = {"iter_counter": state.iteration - position.epoch_start}
            engine._fire(slots[Events.TERMINATE_SINGLE_EPOCH], (), done)
            _obey(engine, position, Events.TERMINATE_SINGLE_EPOCH)
        position.after = None
        if engine.should_terminate_single_epoch != "skip_epoch_completed":
            _fire_timed(engine, Events.EPOCH_COMPLETED, position.epoch_began)
            _obey(engine, position, Events.EPOCH_COMPLETED)
    position.after = None


def fire_completed(engine: Engine, position: Position) -> None:
    """Fires COMPLETED and notes the duration of the run."""
    _fire_timed(engine, Events.COMPLETED, position.run_began)


def _restart(engine: Engine, position: Position, restart: Restart) -> None:
    """Fires STARTED in the process that goes on with a run, and takes up what was asked for in the one before."""
    position.restart = None
    engine._fire(engine._table.slots[Events.STARTED])
    if restart.terminate:
        engine.should_terminate, engine.terminate_reason = restart.terminate, restart.reason
    if restart.terminate_epoch:
        engine.should_terminate_single_epoch = restart.terminate_epoch
    if engine.should_terminate:
        raise Terminated
    if engine.should_interrupt:
        position.pause(position.after)
        raise Paused


def _run_iterations(engine: Engine, position: Position) -> bool:
    """Runs the iterations of one epoch, or what is left of it; returns False where someone asked for the epoch's end."""
    try:
        _iterate(engine, position)
    except EpochTerminated:
        return False
    return True


def _iterate(engine: Engine, position: Position) -> None:
    state, step, fire, slots = engine.state, engine._process_function, engine._fire, engine._table.slots
    fetching, stepping = Events.GET_BATCH_STARTED, Events.ITERATION_STARTED  # reading an Enum's member is slow
    has_data = state.dataloader is not None
    live = (
        slots[Events.GET_BATCH_STARTED] if has_data else _SILENT,
        slots[Events.GET_BATCH_COMPLETED] if has_data else _SILENT,
        slots[Events.ITERATION_STARTED],
    )
    get_started, get_completed, started = live
    completed = slots[Events.ITERATION_COMPLETED]
    if position.after is not None:
        _take_up(engine, position)
    fetch: Callable[[], Any] | None = _feed(engine, position)
    iteration, stop = state.iteration, _stop_at(engine, position)
    resumed = position.after in _IN_ITERATION
    if resumed:  # what was done before the interruption is passed over, once
        get_started = _SILENT
        if position.after in (Events.GET_BATCH_COMPLETED, Events.ITERATION_STARTED):
            get_completed, fetch = _SILENT, iter((state.batch,)).__next__
        if position.after == Events.ITERATION_STARTED:
            started = _SILENT
            iteration -= 1
    position.after = None

    while True:  # Python 3.11 speeds up `while True`, and not `while condition`, in its first call
        if iteration == stop:
            break
        state.batch = None  # at most one batch is alive
        if get_started.records:
            fire(get_started)
            if engine._asked:
                fetch = _obey(engine, position, Events.GET_BATCH_STARTED)
        else:
            engine.last_event_name = fetching
        try:
            state.batch = fetch()  # type: ignore[misc]  # None only until it is refilled below
        except StopIteration as end:
            refuse_user_stop_iteration(end)
            fetch = None
        if fetch is None:
            fetch = _refill(engine, position)
            if fetch is None:
                break
            get_started, resumed = _SILENT, True  # the same iteration goes on
            continue
        if get_completed.records:
            fire(get_completed)
            if engine._asked:
                fetch = _obey(engine, position, Events.GET_BATCH_COMPLETED)
        iteration += 1
        state.iteration = iteration
        if started.records:
            fire(started)
            if engine._asked:
                fetch = _obey(engine, position, Events.ITERATION_STARTED)
        else:
            engine.last_event_name = stepping
        state.output = None  # at most one output is alive
        state.output = step(engine, state.batch)
        if completed.records:
            fire(completed)
        if resumed:
            get_started, get_completed, started = live
            fetch, resumed, position.refilled = _feed(engine, position), False, False
        if engine._asked:
            fetch = _obey(engine, position, Events.ITERATION_COMPLETED)

    if state.max_iters is not None and iteration >= state.max_iters and iteration - position.epoch_start != state.epoch_length:
        engine.should_terminate = True
        raise Terminated


def _take_up(engine: Engine, position: Position) -> None:
    """Does what an interruption or another process has left undone at the iteration at hand."""
    if position.repeat_event:
        position.repeat_event = False
        engine._fire(engine._table.slots[Events.ITERATION_COMPLETED])
        _obey(engine, position, Events.ITERATION_COMPLETED)
    elif engine.should_terminate_single_epoch:
        raise EpochTerminated


def _iterations_before(engine: Engine) -> int:
    """Returns how many iterations of the epoch at hand were made by an earlier run, for a state that stands inside an epoch."""
    state = engine.state
    inside = state.iteration - state.epoch * state.epoch_length if state.epoch_length else 0
    if inside > 0 and state.dataloader is not None and not engine._keeps_data_order:
        warnings.warn(
            f"The run goes on at iteration {state.iteration}, {inside} iterations into an epoch, but the data starts from its "
            "beginning: these batches come a second time in this epoch. Use DeterministicEngine to go on with the batches that "
            "are left.",
            UserWarning,
            stacklevel=2,
        )
    return max(inside, 0)


def _stop_at(engine: Engine, position: Position) -> int | None:
    """Returns the iteration count at which this epoch ends, None while its length is unknown."""
    state = engine.state
    ends = [end for end in (state.max_iters, state.epoch_length and position.epoch_start + state.epoch_length) if end is not None]
    return max(min(ends), state.iteration) if ends else None


def _feed(engine: Engine, position: Position) -> Callable[[], Any]:
    """Returns the function that gives the next batch, opening the data where that is due."""
    if position.feed is None:
        position.feed = repeat(None) if engine.state.dataloader is None else engine._open_feed()
    return position.feed.__next__


def _refill(engine: Engine, position: Position) -> Callable[[], Any] | None:
    """Starts the used-up data anew; returns None where the epoch ends instead."""
    state = engine.state
    done = state.iteration - position.epoch_start
    if state.iteration == 0 and state.epoch_length is None:
        raise EmptyDataError(
            f"Input data has zero size. Please provide non-empty data; {type(state.dataloader).__name__} gave no batch.",
            state.dataloader,
        )
    if done > 0 and state.epoch_length is None:
        write_epoch_length(state, done)
        return None
    if position.refilled:
        position.used_up, position.refilled = True, False
        if not is_done(state):
            total = state.max_iters or (state.epoch_length or 0) * (state.max_epochs or 0) or "unknown"
            warnings.warn(
                "Data iterator can not provide data anymore but required total number of iterations to run is not reached. "
                f"Current iteration: {state.iteration} vs Total iterations to run : {total}. "
                "Give data that can be iterated over again, or put a fresh iterator into state.dataloader on "
                "DATALOADER_STOP_ITERATION.",
                UserWarning,
                stacklevel=2,
            )
        return None
    position.feed = None
    engine._fire(engine._table.slots[Events.DATALOADER_STOP_ITERATION])
    position.refilled = True
    return _obey(engine, position, Events.DATALOADER_STOP_ITERATION)


def _obey(engine: Engine, position: Position, event: Events) -> Callable[[], Any]:
    """Does what was asked for during `event`; where the run goes on, returns the function that gives the next batch."""
    if engine._asked:
        engine._asked = engine.should_interrupt  # which may have to wait for its turn
        if engine.should_terminate:
            raise Terminated
        if engine.should_terminate_single_epoch and event not in (Events.TERMINATE_SINGLE_EPOCH, Events.EPOCH_COMPLETED):
            if event in (Events.STARTED, Events.EPOCH_STARTED):
                raise RuntimeError(
                    f"terminate_epoch() was called in {event.name}, before the epoch's first batch. Call it from a batch or "
                    "iteration event or from the step; to skip the whole run call terminate()."
                )
            raise EpochTerminated
        if engine.should_interrupt:
            position.pause(event)
            raise Paused
    return _feed(engine, position) if event in _IN_ITERATION or event == Events.ITERATION_COMPLETED else _no_batch


def _no_batch() -> None:
    """Stands where no batch is due."""


def _fire_timed(engine: Engine, event: Events, began: float) -> None:
    """Fires an end event; its handlers see the time so far, afterwards their own time is in it too."""
    times = engine.state.times
    times[event.name] = perf_counter() - began
    engine._fire(engine._table.slots[event])
    times[event.name] = perf_counter() - began
