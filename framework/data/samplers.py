"""The indices that a map-style loader asks its dataset for, as a function of the pass and its seed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from copy import copy, deepcopy
from itertools import islice
from typing import Any, TypeVar

import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

from framework.data.streams import apart
from framework.errors import ResumeError
from framework.seeding import RandomStream

T = TypeVar("T")

_AT_ONCE = 16
_REDRAWN = (RandomSampler, SubsetRandomSampler, WeightedRandomSampler, DistributedSampler)


def sampler_of(loader: DataLoader[Any]) -> Any:
    """Returns what a loader takes the indices of each batch from; without batches of its own, each index."""
    return loader.sampler if loader.batch_sampler is None else loader.batch_sampler


def drawn(sampler: Iterable[Any], seed: int) -> Iterator[Any]:
    """Yields what any sampler gives; the numbers it draws from the global streams follow from the seed.

    It is asked for a few at a time, since a stream of its own is slow to put in place; before the last one is yielded it has been
    run to its end, so that one that has a state has that of the pass's end.
    """
    stream = RandomStream(seed)

    def ask(call: Callable[[], T]) -> T:
        with stream:
            return call()

    given = apart(lambda: ask(lambda: iter(sampler)))
    waiting: deque[Any] = deque()
    more = True
    while more or waiting:
        if more and len(waiting) < 2:
            few = apart(lambda: ask(lambda: list(islice(given, _AT_ONCE))))
            more = len(few) == _AT_ONCE
            waiting += few
        else:
            yield waiting.popleft()


class Indices:
    """What the sampler of a map-style loader gives in each pass.

    Those of torch draw from a generator that follows from the seed of the pass; the others run in a random stream of the pass.

    Args:
        loader: the user's; its sampler is not touched where it is one of torch's.
        sampler: to be used in place of the loader's; None for that one.

    Attributes:
        in_batches: an item is the indices of a batch, not one index.
        replaced: the name of torch's sampler that draws otherwise than the user wrote it, None where nothing changes; all samples
            shuffled come in another order each time anyway.
    """

    def __init__(self, loader: DataLoader[Any], sampler: Any = None) -> None:
        sampler = sampler_of(loader) if sampler is None else sampler
        self.in_batches = loader.batch_sampler is not None
        self._dataset = loader.dataset
        self._batching: BatchSampler | None = None
        if type(sampler) is BatchSampler:
            self._batching, self.in_batches, sampler = sampler, True, sampler.sampler
        self._sampler: Any = sampler
        self._known = type(sampler) is SequentialSampler or type(sampler) in _REDRAWN
        draws = type(sampler) in _REDRAWN and getattr(sampler, "shuffle", True)
        self.replaced = type(sampler).__name__ if draws and not is_plain_shuffle(sampler) else None
        below = getattr(sampler, "sampler", None)
        own = () if self._known else (sampler, below)
        self._with_state = next((one for one in own if hasattr(one, "state_dict") and hasattr(one, "load_state_dict")), None)
        self._with_epoch = next((one for one in own if hasattr(one, "set_epoch")), None)

    @property
    def length(self) -> int:
        """How many samples torch's sampler gives in a pass; for others, how many the dataset has, 0 where it does not know."""
        if self._known:
            whole = type(self._sampler) is DistributedSampler and self._sampler.num_replicas == 1
            return len(self._sampler.dataset if whole else self._sampler)
        return len(self._dataset) if hasattr(self._dataset, "__len__") else 0

    def state(self) -> dict[str, Any]:
        """Returns {"sampler": its state} where the user's sampler has one."""
        return {} if self._with_state is None else {"sampler": deepcopy(self._with_state.state_dict())}

    def load_state(self, state: Any) -> None:
        """Puts the user's sampler into a state."""
        assert self._with_state is not None
        self._with_state.load_state_dict(deepcopy(state))

    def size(self, item: Any) -> int:
        """Returns how many samples an item stands for."""
        return len(item) if self.in_batches else 1

    def draw(self, number: int, seed: int, samples: int) -> tuple[Iterator[Any], int]:
        """Returns the items of a pass without those of its first samples, and how many those are.

        Args:
            number: of the pass.
            seed: of the pass.
            samples: to leave out at the start.

        Raises:
            ResumeError: no batch of the user's batch sampler ends there.
        """
        sampler = self._sampler
        if self._known:
            sampler = _redrawn(sampler, seed)
        elif self._with_epoch is not None:
            self._with_epoch.set_epoch(number)
        if self._batching is not None:
            size = self._batching.batch_size
            sampler = BatchSampler(_From(sampler, samples), size, self._batching.drop_last)
            return iter(sampler) if self._known else drawn(sampler, seed), -(-samples // size)
        if self._known:
            return iter(_From(sampler, samples)), samples
        return self._pass_over(drawn(sampler, seed), samples)

    def _pass_over(self, items: Iterator[Any], samples: int) -> tuple[Iterator[Any], int]:
        done = skipped = 0
        while done < samples:
            item = next(items, None)
            done += 0 if item is None else self.size(item)
            skipped += 1
            if item is None or done > samples:
                raise ResumeError(
                    f"The position was saved after {samples} samples of the pass, and {type(self._sampler).__name__} gives "
                    f"{done} in {skipped - (item is None)} batches: it does not draw as it did. It may draw from the global random "
                    "generators and its own state_dict only. Give the sampler of the interrupted run, or start a new run."
                )
        return items, skipped


def is_plain_shuffle(sampler: Any) -> bool:
    """Tells whether it gives all samples in an order that is another one in each pass."""
    if type(sampler) is not RandomSampler or sampler.replacement or sampler.generator is not None:
        return False
    return sampler.num_samples == len(sampler.data_source)


class _From:
    """The indices of a sampler without the first ones."""

    def __init__(self, sampler: Iterable[Any], first: int) -> None:
        self._sampler = sampler
        self._first = first

    def __iter__(self) -> Iterator[Any]:
        return islice(iter(self._sampler), self._first, None)


def _redrawn(sampler: Any, seed: int) -> Any:
    """Returns one of torch's samplers with the same options, which draws from the seed of a pass."""
    sampler = copy(sampler)
    if type(sampler) is DistributedSampler:
        sampler.seed, sampler.epoch = seed, 0
    elif type(sampler) is not SequentialSampler:
        sampler.generator = torch.Generator().manual_seed(seed)
    return sampler
