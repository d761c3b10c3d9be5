"""A pass over data that can be made again from any batch on: same batches, same random numbers in them.

Every pass has a seed, and every batch of a map-style loader has one that follows from it and from the batch's position. Whatever is
drawn while batches are made, in workers or not, comes from these; the global random stream of the process stays as it is.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from itertools import islice
from typing import Any

import torch
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset

from framework.seeding import NUMPY_SEEDS, RandomStream, derive_seed


class ReproducibleBatchSampler(BatchSampler):
    """Yields the batches of another sampler; all are drawn when the iteration begins, so that some can be skipped.

    Args:
        batch_sampler: the sampler.
        start_iteration: the number of batches to skip in the next pass; None or 0 for none.

    Raises:
        TypeError: `batch_sampler` is no BatchSampler.

    Example:
        >>> from torch.utils.data import BatchSampler, SequentialSampler
        >>> from framework.engine import ReproducibleBatchSampler
        >>> batches = BatchSampler(SequentialSampler(range(5)), batch_size=2, drop_last=False)
        >>> list(ReproducibleBatchSampler(batches, start_iteration=1))
        [[2, 3], [4]]
    """

    def __init__(self, batch_sampler: BatchSampler, start_iteration: int | None = None) -> None:
        if not isinstance(batch_sampler, BatchSampler):
            raise TypeError(f"Argument batch_sampler should be torch.utils.data.sampler.BatchSampler, got {type(batch_sampler)}")
        super().__init__(batch_sampler.sampler, batch_sampler.batch_size, batch_sampler.drop_last)
        self.batch_sampler = batch_sampler
        self.start_iteration = start_iteration

    def __iter__(self) -> Iterator[list[int]]:
        batches = list(self.batch_sampler)[self.start_iteration or 0 :]
        self.start_iteration = None
        return iter(batches)

    def __len__(self) -> int:
        return len(self.batch_sampler)


def update_dataloader(dataloader: DataLoader[Any], new_batch_sampler: BatchSampler) -> DataLoader[Any]:
    """Returns a loader of the same type and settings that takes its batches from another sampler.

    Args:
        dataloader: stays as it is.
        new_batch_sampler: the sampler of the returned loader.

    Example:
        >>> from torch.utils.data import BatchSampler, DataLoader, SequentialSampler
        >>> from framework.engine import update_dataloader
        >>> loader = DataLoader([10, 20, 30], batch_size=3)
        >>> list(update_dataloader(loader, BatchSampler(SequentialSampler(range(3)), 2, drop_last=True)))
        [tensor([10, 20])]
    """
    return _changed(dataloader, batch_sampler=new_batch_sampler)


def replayable_pass(data: Iterable[Any], seed: int, skip: int) -> Iterator[Any]:
    """Returns an iterator over one pass, from batch `skip` on.

    A map-style `DataLoader` and a sequence skip without reading; anything else is read and dropped.

    Args:
        data: batches.
        seed: of this pass.
        skip: batches to leave out at the start.
    """
    if isinstance(data, DataLoader) and _is_map_style(data):
        return _map_style_pass(data, seed, skip)
    stream = RandomStream(seed)
    if isinstance(data, Sequence):
        return _Streamed(islice(data, skip, None), stream)
    with stream:
        batches = iter(data)
    streamed = _Streamed(batches, stream)
    for _ in range(skip):
        next(streamed)
    return streamed


class _Streamed:
    """Makes each step of an iterator inside a random stream."""

    def __init__(self, batches: Iterator[Any], stream: RandomStream) -> None:
        self._batches = batches
        self._stream = stream

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        with self._stream:
            return next(self._batches)


class _SeededEach(_Streamed):
    """Makes each step of an iterator inside a random stream of its own, by position."""

    def __init__(self, batches: Iterator[Any], seed: int, position: int) -> None:
        super().__init__(batches, RandomStream(seed))
        self._seed = seed
        self._position = position

    def __next__(self) -> Any:
        self._stream = RandomStream(derive_seed(self._seed, self._position))
        self._position += 1
        return super().__next__()


class SeededBatch(list[Any]):
    """The sample indices of one batch, and the seed of the random numbers drawn while it is made."""

    seed: int


class _SeededBatches(BatchSampler):
    """Batches that carry their seeds to the workers."""

    def __init__(self, batches: list[Any], seed: int, position: int) -> None:
        self._batches = batches
        self._seed = seed
        self._position = position

    def __iter__(self) -> Iterator[Any]:
        for position, batch in enumerate(self._batches, start=self._position):
            seeded = SeededBatch(batch)
            seeded.seed = derive_seed(self._seed, position)
            yield seeded

    def __len__(self) -> int:
        return len(self._batches)


class _SeededDataset(Dataset[Any]):
    """Seeds a worker's random numbers before it makes a batch, so that it does not matter which worker makes it, or when."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __getitems__(self, batch: SeededBatch) -> list[Any]:
        random.seed(batch.seed)
        torch.default_generator.manual_seed(batch.seed)
        if (numpy := sys.modules.get("numpy")) is not None:
            numpy.random.seed(batch.seed % NUMPY_SEEDS)
        if hasattr(self.dataset, "__getitems__"):
            samples: list[Any] = self.dataset.__getitems__(batch)
            return samples
        return [self.dataset[index] for index in batch]

    def __len__(self) -> int:
        return len(self.dataset)


def _map_style_pass(loader: DataLoader[Any], seed: int, skip: int) -> Iterator[Any]:
    with RandomStream(seed):
        assert loader.batch_sampler is not None
        batches = list(loader.batch_sampler)[skip:]
        changes: dict[str, Any] = {"batch_sampler": _SeededBatches(batches, seed, skip)}
        if loader.num_workers > 0:
            changes["dataset"] = _SeededDataset(loader.dataset)
        iterator = iter(_changed(loader, **changes))
    return iterator if loader.num_workers > 0 else _SeededEach(iterator, seed, skip)


def _is_map_style(loader: DataLoader[Any]) -> bool:
    if type(loader).__iter__ is not DataLoader.__iter__:
        return False  # what it does is its own business
    return loader.batch_sampler is not None and not isinstance(loader.dataset, IterableDataset)


def _changed(loader: DataLoader[Any], **changes: Any) -> DataLoader[Any]:
    """Returns a shallow copy; a loader refuses changes of its sampler by assignment, and must not share live workers."""
    other = copy(loader)
    other.__dict__.update(changes, _iterator=None)
    return other
