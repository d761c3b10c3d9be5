"""Where a run starts and where it ends: reads the arguments of `run` against the state the engine is in."""

from __future__ import annotations

from typing import Any

from framework.engine.state import State


class EmptyDataError(ValueError):
    """The data has no batch; `data` is what was to be iterated over."""

    def __init__(self, message: str, data: Any) -> None:
        super().__init__(message)
        self.data = data


def check_count(name: str, value: Any, least: int) -> None:
    """Refuses a `value` that is not a whole number of at least `least`; None passes.

    Raises:
        TypeError: not an integer.
        ValueError: below `least`.
    """
    if value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"Argument {name} should be an integer, got {value!r} ({type(value).__name__})")
    if value < least:
        raise ValueError(f"Argument {name} should be at least {least}, got {value}")


def data_length(data: Any) -> int | None:
    """Returns the number of batches in `data`, or None where it does not know itself.

    Raises:
        TypeError: `data` cannot be iterated over.
        ValueError: `data` is empty.
    """
    if not hasattr(data, "__iter__") and not hasattr(data, "__getitem__"):
        raise TypeError(
            f"Argument data should be iterable, got {type(data).__name__}. Give a DataLoader or any iterable of batches."
        )
    if not hasattr(data, "__len__"):
        return None
    try:
        length = len(data)
    except TypeError:  # a loader over an iterable dataset has a length method that raises
        return None
    if length < 1:
        raise EmptyDataError(
            f"Input data has zero size. Please provide non-empty data; got {type(data).__name__} of length 0.", data
        )
    return length


def is_reset(state: State) -> bool:
    """Tells whether `state` has no limit to run to: it is new, or the user took the one in use away to start from zero."""
    return state.max_iters is None and state.max_epochs in (None, state._max_epochs_of_iters)


def is_done(state: State) -> bool:
    """Tells whether the run described by `state` has reached its end."""
    if state.max_iters is not None:
        return state.iteration >= state.max_iters
    if state.max_epochs is None:
        return False
    if state.epoch_length is not None and state.iteration >= state.epoch_length * state.max_epochs:
        return True
    return state.epoch >= state.max_epochs


def write_epoch_length(state: State, length: int | None) -> None:
    """Writes the iterations of an epoch; with `max_iters`, data that did not know its length gets its `max_epochs` too."""
    state.epoch_length = length
    if state.max_iters is not None and length is not None:
        state.max_epochs = state._max_epochs_of_iters = -(-state.max_iters // length)


def plan_run(
    state: State, data: Any, max_epochs: int | None, max_iters: int | None, epoch_length: int | None, interrupted: bool
) -> bool:
    """Checks the arguments of `run` and writes the limits into `state`.

    Returns:
        True when the run starts from zero, False when it goes on from where `state` is.

    Raises:
        TypeError, ValueError: an argument of the wrong type or range, or one that contradicts the state.
    """
    check_count("max_epochs", max_epochs, 0)
    check_count("max_iters", max_iters, 0)
    check_count("epoch_length", epoch_length, 1)
    if max_iters is not None and max_epochs is not None:
        raise ValueError(
            "Arguments max_iters and max_epochs are mutually exclusive. Please provide only max_epochs or max_iters. "
            f"Got max_epochs={max_epochs}, max_iters={max_iters}."
        )
    length = None if data is None else data_length(data)
    fresh = is_reset(state)
    if not fresh:
        _refuse_contradictions(state, max_epochs, max_iters)
        extended = State(
            iteration=state.iteration,
            epoch=state.epoch,
            epoch_length=state.epoch_length,
            max_epochs=state.max_epochs if max_epochs is None else max_epochs,
            max_iters=state.max_iters if max_iters is None else max_iters,
        )
        fresh = not interrupted and is_done(extended)
    if fresh:
        _begin(state, data, length, max_epochs, max_iters, epoch_length)
    else:
        has_data = data is not None or (interrupted and state.dataloader is not None)
        _continue(state, has_data, length, max_epochs, max_iters, epoch_length)
    return fresh


def _begin(
    state: State, data: Any, length: int | None, max_epochs: int | None, max_iters: int | None, epoch_length: int | None
) -> None:
    if epoch_length is None:
        epoch_length = length if data is not None else state.epoch_length
    if data is None and epoch_length is None:
        raise ValueError("epoch_length should be provided if data is None")
    state.iteration = 0
    state.epoch = 0
    state.epoch_length = epoch_length
    state.max_iters = max_iters
    state.max_epochs = 1 if max_epochs is None and max_iters is None else max_epochs
    state._max_epochs_of_iters = None


def _continue(
    state: State, has_data: bool, length: int | None, max_epochs: int | None, max_iters: int | None, epoch_length: int | None
) -> None:
    if epoch_length is not None and state.epoch_length not in (None, epoch_length):
        raise ValueError(
            f"Argument epoch_length should be same as in the state: {epoch_length} vs {state.epoch_length}. Please, set "
            "state.max_epochs = None (or state.max_iters = None) before calling engine.run() to restart with another."
        )
    if state.epoch_length is None:
        state.epoch_length = length if epoch_length is None else epoch_length
    if not has_data and state.epoch_length is None:
        raise ValueError("epoch_length should be provided if data is None")
    if max_epochs is not None:
        state.max_epochs = max_epochs
    if max_iters is not None:
        state.max_iters = max_iters
        if state.max_epochs is not None:  # counted from the iterations
            write_epoch_length(state, state.epoch_length)


def _refuse_contradictions(state: State, max_epochs: int | None, max_iters: int | None) -> None:
    by_iterations = state.max_iters is not None
    if by_iterations and max_epochs is not None:
        raise ValueError(
            "To switch from max_iters to max_epochs mode during resume, please, set state.max_iters = None before calling "
            f"engine.run(max_epochs=...); the state has max_iters={state.max_iters}, got max_epochs={max_epochs}."
        )
    if not by_iterations and max_iters is not None:
        raise ValueError(
            "To switch from max_epochs to max_iters mode during resume, please, set state.max_epochs = None before calling "
            f"engine.run(max_iters=...); the state has max_epochs={state.max_epochs}, got max_iters={max_iters}."
        )
    for name, target, start, reached in (
        ("max_epochs", max_epochs, "start epoch", state.epoch),
        ("max_iters", max_iters, "start iteration", state.iteration),
    ):
        if target is not None and target < reached:
            raise ValueError(
                f"Argument {name} should be greater than or equal to the {start} defined in the state: {target} vs {reached}. "
                f"Please, set state.{name} = None before calling engine.run() in order to restart the training from the beginning."
            )
