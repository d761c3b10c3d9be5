"""What an engine saves of its state, and how it is read back."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from framework.engine.state import State

_TARGETS = ("max_epochs", "max_iters")


def dump_state(state: State, user_keys: Sequence[str]) -> OrderedDict[str, Any]:
    """Returns epoch_length, iteration, the limit in use and the user's keys."""
    limit = "max_iters" if state.max_iters is not None else "max_epochs"
    return OrderedDict((key, getattr(state, key)) for key in ("epoch_length", limit, "iteration", *user_keys))


def load_state(state: State, saved: Mapping[str, Any], user_keys: Sequence[str]) -> None:
    """Writes `saved` into `state`; the missing one of iteration and epoch is computed.

    Raises:
        TypeError: `saved` is no mapping.
        ValueError: a key is missing, there is one too many, or the values contradict each other.
    """
    if not isinstance(saved, Mapping):
        raise TypeError(f"Argument state_dict should be a dictionary, but given {type(saved)}")
    _check_keys(saved, user_keys)
    length: int | None = saved["epoch_length"]
    progress = saved.get("iteration", saved.get("epoch"))
    if progress and not length:
        raise ValueError(
            "If epoch is provided in the state dict, epoch_length should not be None; epoch_length must be a positive integer to "
            f"calculate missing 'iteration' or 'epoch' key. Got epoch_length={length!r}."
        )
    if "iteration" in saved:
        iteration, epoch = saved["iteration"], saved["iteration"] // (length or 1)
    else:
        iteration, epoch = saved["epoch"] * (length or 0), saved["epoch"]
    target = next(key for key in _TARGETS if key in saved)
    reached, start = (epoch, "start epoch") if target == "max_epochs" else (iteration, "start iteration")
    if saved[target] is not None and saved[target] < reached:
        raise ValueError(
            f"The saved {target} should be greater than or equal to the {start} it holds: {saved[target]} vs {reached}. "
            f"Raise state_dict[{target!r}], or save the state before it is changed."
        )
    state.iteration, state.epoch, state.epoch_length = iteration, epoch, length
    for key in _TARGETS:
        setattr(state, key, saved.get(key))
    state._max_epochs_of_iters = None
    for key in user_keys:
        setattr(state, key, saved[key])


def _check_keys(saved: Mapping[str, Any], user_keys: Sequence[str]) -> None:
    for key in user_keys:
        if key not in saved:
            raise ValueError(f"Required user state attribute '{key}' is absent in provided state_dict '{list(saved)}'")
    if "epoch_length" not in saved:
        raise ValueError(f"Required state attribute 'epoch_length' is absent in provided state_dict '{list(saved)}'")
    if sum(key in saved for key in _TARGETS) != 1:
        raise ValueError(f"state_dict should contain exactly one of '{_TARGETS}' keys, got {list(saved)}")
    if "iteration" not in saved and "epoch" not in saved:
        raise ValueError(f"Required state attribute 'iteration' is absent in provided state_dict '{list(saved)}'")
    if "iteration" in saved and "epoch" in saved:
        raise ValueError("State dictionary should contain only one of 'iteration' or 'epoch' keys")
