"""An engine whose runs can be resumed inside an epoch with the same batches and the same random numbers."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from typing import Any, TypeVar

import torch

from framework.data.replay import replayable_pass
from framework.engine.engine import Engine
from framework.engine.limits import data_length
from framework.engine.state import State
from framework.seeding import derive_seed, random_state, set_random_state

F = TypeVar("F", bound=Callable[..., Any])


class DeterministicEngine(Engine):
    """Gives the same batches, with the same random augmentation, whether a run was resumed or not.

    Each pass over the data has a seed that follows from torch's (`torch.manual_seed`, set the same before the first and the resumed
    run) and from the number of the pass. What is drawn while batches are made does not touch the global random stream; that one is
    saved by `state_dict` and put back before the first batch of a resumed run, so dropout goes on as well.

    Args:
        process_function: as for `Engine`.
        deterministic: let cuDNN use deterministic algorithms only while running; False leaves torch's flags alone.

    Example:
        >>> import torch
        >>> from torch.utils.data import DataLoader
        >>> from framework.engine import DeterministicEngine
        >>> def batches(resumed_at):
        ...     torch.manual_seed(0)
        ...     seen, engine = [], DeterministicEngine(lambda engine, batch: seen.append(batch.tolist()))
        ...     engine.load_state_dict({"iteration": resumed_at, "epoch_length": 4, "max_epochs": 2, "rng_states": None})
        ...     _ = engine.run(DataLoader(torch.arange(4), shuffle=True))
        ...     return seen
        >>> batches(resumed_at=0)[3:] == batches(resumed_at=3)
        True
    """

    _keeps_data_order = True

    def __init__(self, process_function: Callable[[Any, Any], Any], deterministic: bool = True) -> None:
        super().__init__(process_function)
        self.deterministic = deterministic
        self.state_dict_user_keys.append("rng_states")
        self._pass: int | None = None  # the number of the pass under way, None before the first of a run
        self._loaded_random_state: dict[str, Any] | None = None
        self.state.rng_states = None

    def run(
        self,
        data: Any = None,
        max_epochs: int | None = None,
        epoch_length: int | None = None,
        seed: int | None = None,
        *,
        max_iters: int | None = None,
    ) -> State:
        """Runs as `Engine.run` does.

        Raises:
            ValueError: `data` is None, and those of `Engine.run`.
        """
        if data is None and self._position is None:
            raise ValueError("Deterministic engine does not support the option of data=None. Give the data to run on.")
        if self._position is None:
            self._pass = None
        cudnn = torch.backends.cudnn
        before = cudnn.deterministic, cudnn.benchmark
        if self.deterministic:
            cudnn.deterministic, cudnn.benchmark = True, False
        try:
            return super().run(data, max_epochs, epoch_length, seed, max_iters=max_iters)
        finally:
            cudnn.deterministic, cudnn.benchmark = before

    def state_dict(self) -> OrderedDict[str, Any]:
        """Returns what `Engine.state_dict` does, and under "rng_states" the states of the global random generators."""
        self.state.rng_states = random_state()
        return super().state_dict()

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Takes up a saved state; the random generators are put back when the next run needs its first batch."""
        super().load_state_dict(state_dict)
        self._loaded_random_state = self.state.rng_states
        self._pass = None

    def _open_feed(self) -> Iterator[Any]:
        data, state = self.state.dataloader, self.state
        length = data_length(data)
        if length is None and iter(data) is not data:
            length = state.epoch_length  # found by an earlier pass
        skip = 0
        if self._pass is None:
            self._pass, skip = divmod(self._batches_before(), length) if length else (0, self._batches_before())
        else:
            self._pass += 1
        batches = replayable_pass(data, derive_seed(torch.initial_seed(), self._pass), skip)
        loaded, self._loaded_random_state = self._loaded_random_state, None
        if loaded is not None:
            set_random_state(loaded)
        return batches

    def _batches_before(self) -> int:
        """Returns how many batches the run has taken, an epoch that was broken off counted as a whole one."""
        state, position = self.state, self._position
        if state.epoch_length is None or position is None:
            return state.iteration
        return (state.epoch - 1) * state.epoch_length + state.iteration - position.epoch_start


def keep_random_state(func: F) -> F:
    """Makes a function leave the global random generators (python, numpy, torch) as they were.

    Example:
        >>> import torch
        >>> from framework.engine import keep_random_state
        >>> before = torch.get_rng_state()
        >>> _ = keep_random_state(torch.rand)(3)
        >>> torch.equal(before, torch.get_rng_state())
        True
    """

    @wraps(func)
    def keeping(*args: Any, **kwargs: Any) -> Any:
        states = random_state()
        try:
            return func(*args, **kwargs)
        finally:
            set_random_state(states)

    return keeping  # type: ignore[return-value]
