"""The indices of one process's samples, where several take the steps of a map-style loader together."""

from __future__ import annotations

from copy import copy
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, DistributedSampler, SequentialSampler, WeightedRandomSampler

from framework.data.dealt import Dealing, dealt, from_step, split, split_order
from framework.data.samplers import Indices, is_plain_shuffle, sampler_of
from framework.data.shares import Shares
from framework.errors import DataError
from framework.seeding import derive_seed


class SharedIndices:
    """What each process takes of the steps of all: a part of each batch of indices, else whole batches.

    No process asks its dataset for a sample of another. All draw the same order, from the seed.

    Args:
        loader: the user's; its batch size is that of one process, or of all with `shares.whole`.
        shares: says which samples are this process's.

    Attributes:
        steps: the indices of all processes.
        replaced: says what becomes of a DistributedSampler, None where there is none.
    """

    def __init__(self, loader: DataLoader[Any], shares: Shares) -> None:
        self._shares = shares
        sampler = sampler_of(loader)
        drawn: Any = sampler.sampler if type(sampler) is BatchSampler else sampler
        split_by_user = type(drawn) is DistributedSampler
        self.replaced: str | None = None
        if split_by_user:
            drawn = _gathered(drawn, shares)
            order = "order by seed and pass, " if drawn.shuffle else ""
            self.replaced = f"DistributedSampler -> {order}split over {shares.world_size} processes"
        else:
            _refuse_part_of_samples(drawn)
        size = getattr(sampler, "batch_size", None)
        self._splits = isinstance(size, int) and (shares.whole or type(sampler) is BatchSampler)
        if not self._splits:
            shares.refuse_whole(f"a DataLoader with {'batch_size=None' if loader.batch_sampler is None else _told(sampler)}")
            sampler = drawn
        elif type(sampler) is BatchSampler:
            sampler = BatchSampler(drawn, shares.step_size(sampler.batch_size), sampler.drop_last)
        else:
            shares.step_size(sampler.batch_size)
        self._sampler = sampler
        self.steps = Indices(loader, sampler)

    def __len__(self) -> int:
        items = len(self._sampler)
        return items if self._splits else -(-items // self._shares.world_size)

    def own_seed(self, seed: int, number: int) -> int:
        """Returns the seed of what this process draws in a pass beside the order: that of one process alone on the first."""
        return derive_seed(seed, number, self._shares.rank) if self._shares.rank else derive_seed(seed, number)

    def draw(self, number: int, seed: int, samples: int) -> tuple[Dealing, int]:
        """Returns this process's items of a pass without those of its first samples, and how many steps those are.

        Args:
            number: of the pass.
            seed: of the pass, the same for all processes.
            samples: of all processes, to leave out at the start.

        Raises:
            ResumeError: no step begins there.
        """
        shares, sampler = self._shares, self._sampler
        if type(sampler) is BatchSampler and (order := _order(sampler.sampler, seed)) is not None:
            size = sampler.batch_size
            return Dealing(split_order(order[samples:], size, sampler.drop_last, shares)), -(-samples // size)
        items, skipped = self.steps.draw(number, seed, samples)
        if self._splits:
            return Dealing(split(items, shares)), skipped
        parts = dealt(from_step(items, skipped, shares), shares, self.steps.size)
        return Dealing(parts), -(-skipped // shares.world_size)


def _gathered(sampler: DistributedSampler[Any], shares: Shares) -> DistributedSampler[Any]:
    """Returns a sampler of all samples with the same options; those that would be dropped to be even among the processes are."""
    sampler = copy(sampler)
    samples = len(sampler.dataset)  # type: ignore[arg-type]
    if sampler.drop_last:
        samples -= samples % shares.world_size
    sampler.num_replicas, sampler.rank, sampler.num_samples, sampler.total_size = 1, 0, samples, samples
    return sampler


def _order(sampler: Any, seed: int) -> Tensor | range | None:
    """Returns the order in which one of torch's samplers gives its indices in a pass; None where its own iteration says so.

    Nothing is done for each index here, of which most are those of other processes.
    """
    data: Any = sampler.dataset if type(sampler) is DistributedSampler else getattr(sampler, "data_source", None)
    if type(sampler) is SequentialSampler or (type(sampler) is DistributedSampler and not sampler.shuffle):
        return range(len(sampler))
    generator = torch.Generator().manual_seed(seed)
    if type(sampler) is DistributedSampler or is_plain_shuffle(sampler):
        return torch.randperm(len(data), generator=generator)[: len(sampler)]
    if type(sampler) is WeightedRandomSampler:
        return torch.multinomial(sampler.weights, sampler.num_samples, sampler.replacement, generator=generator)
    return None


def _refuse_part_of_samples(sampler: Any) -> None:
    """Refuses what gives each process its own samples already.

    Raises:
        DataError: it, or the sampler in it, has `num_replicas`.
    """
    for one in (sampler, getattr(sampler, "sampler", None)):
        replicas = getattr(one, "num_replicas", 1)
        if replicas != 1:
            raise DataError(
                f"{type(one).__name__} gives each process samples of its own (num_replicas={replicas!r}), and they would be split "
                "again. Give the DataLoader a sampler of all samples, for example by shuffle=True, or use "
                'data_order="loader", which leaves it as it is.'
            )


def _told(sampler: Any) -> str:
    return f"the batch sampler {type(sampler).__name__}, whose batches have no batch_size,"
