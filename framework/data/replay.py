"""A pass over data that can be made again from any batch on, for an engine that is told a seed for each pass.

Every pass has a seed, and every batch of a map-style loader has one that follows from it and from the batch's position. Whatever is
drawn while batches are made, in workers or not, comes from these; the global random stream of the process stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import torch
from torch.utils.data import BatchSampler, DataLoader

from framework.data.loader_copy import changed, is_map_style, with_items
from framework.data.samplers import drawn, sampler_of
from framework.data.seeded import SeededDataset, SeededItems, seeded
from framework.data.streams import Apart
from framework.seeding import RandomStream


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
    return changed(dataloader, batch_sampler=new_batch_sampler)


def replayable_pass(data: Iterable[Any], seed: int, skip: int) -> Iterator[Any]:
    """Returns an iterator over one pass, from batch `skip` on.

    A map-style `DataLoader` and a sequence skip without reading; anything else is read and dropped.

    Args:
        data: batches.
        seed: of this pass.
        skip: batches to leave out at the start.
    """
    if isinstance(data, DataLoader) and is_map_style(data):
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


def _map_style_pass(loader: DataLoader[Any], seed: int, skip: int) -> Iterator[Any]:
    sampler = sampler_of(loader)
    items = SeededItems(sampler)
    items.begin(seeded(islice(drawn(sampler, seed), skip, None), seed, skip))
    generator = torch.Generator().manual_seed(seed)  # of the workers' first seeds
    batches = iter(with_items(loader, items, SeededDataset(loader.dataset), generator=generator))
    return batches if loader.num_workers > 0 else Apart(batches)
