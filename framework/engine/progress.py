"""Where a run is, written down such that another process goes on exactly there: after which event, and with which requests."""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter
from typing import Any, NoReturn

from framework.engine.engine import Engine
from framework.engine.events import Events
from framework.engine.loop import Paused
from framework.engine.position import Position, Restart

_STATE = ("iteration", "epoch", "epoch_length")


def dump_progress(engine: Engine, after: str | None) -> dict[str, Any]:
    """Returns where a run is, in plain values.

    Args:
        engine: in a run, or just paused.
        after: the event whose handlers have run last; None where the run has not begun.
    """
    state, position = engine.state, engine._position
    now = perf_counter()
    progress: dict[str, Any] = {name: getattr(state, name) for name in _STATE}
    counters = {name: getattr(state, name) for name in state._counters.values() if name not in _STATE}
    progress.update(
        after=getattr(after, "name", after),
        repeat_event=False,
        counters=counters,
        user={key: getattr(state, key) for key in engine.state_dict_user_keys},
        times=dict(state.times),
        terminate=engine.should_terminate,
        terminate_epoch=engine.should_terminate_single_epoch,
        reason=engine.terminate_reason,
    )
    if position is not None:
        progress.update(
            epoch_start=position.epoch_start,
            refilled=position.refilled and after != Events.ITERATION_COMPLETED,  # a batch has come since
            used_up=position.used_up,
            run_s=now - position.run_began,
            epoch_s=now - position.epoch_began,
            repeat_event=position.repeat_event,
        )
    return progress


def load_progress(
    engine: Engine, saved: Mapping[str, Any], data: Any, *, max_epochs: int | None, max_iters: int | None, stay_ended: bool = True
) -> None:
    """Takes up the progress of another process: the next `run()`, without arguments, goes on exactly there.

    STARTED fires again, since the process is a new one; EPOCH_STARTED does not fire again for an epoch that has begun.

    Args:
        engine: has not run.
        saved: what `dump_progress` returned.
        data: what the engine iterates over, from the position on.
        max_epochs, max_iters: where the run ends; one of them.
        stay_ended: a run whose end somebody has asked for ends; False lets it go on.
    """
    state = engine.state
    for name in _STATE:
        setattr(state, name, saved[name])
    for values in (saved["counters"], saved["user"]):
        for name, value in values.items():
            setattr(state, name, value)
    state.times.update(saved["times"])
    state.max_epochs, state.max_iters, state.dataloader = max_epochs, max_iters, data
    position = Position(data)
    position.after = next(event for event in Events if event == saved["after"])
    position.epoch_start, position.refilled, position.used_up = saved["epoch_start"], saved["refilled"], saved["used_up"]
    position.repeat_event = saved["repeat_event"]
    now = perf_counter()
    position.run_began, position.epoch_began, position.paused = now - saved["run_s"], now - saved["epoch_s"], now
    terminate = saved["terminate"] if stay_ended else False
    position.restart = Restart(terminate, saved["terminate_epoch"], saved["reason"] if terminate else None)
    engine._position = position


def pause_before(engine: Engine, event: str) -> NoReturn:
    """Pauses the run from inside a handler of `event`, as if the event had not begun: all its handlers run when the run goes on.

    Args:
        engine: in a run.
        event: the event being fired: STARTED, ITERATION_COMPLETED or EPOCH_COMPLETED.

    Raises:
        Paused: always; the loop takes it.
    """
    position = engine._position
    assert position is not None, "the engine is in a run"
    if event == Events.STARTED:
        position.pause(None)
    elif engine.should_terminate_single_epoch:
        position.pause(Events.TERMINATE_SINGLE_EPOCH)
    else:
        position.pause(Events.ITERATION_COMPLETED)
        position.repeat_event = event == Events.ITERATION_COMPLETED
    raise Paused
