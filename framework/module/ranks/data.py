"""The data of each rank: its share of each step, of data that all ranks were given alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch.utils.data import Subset

from framework.backends.tree import count_samples
from framework.data.base import Ordered
from framework.data.shares import Shares, differences
from framework.distributed.group import Group
from framework.errors import RankError
from framework.module.data_source import length_of


def shares_of(group: Group | None, *, whole: bool = False) -> Shares | None:
    """Returns which samples of each step are this rank's; None where there is one process.

    Args:
        group: the processes.
        whole: the batches of the data are those of all ranks together.
    """
    return None if group is None else Shares(group.rank, group.world_size, whole, count_samples)


def refuse_other_data(group: Group, train: Ordered | None, evaluations: Mapping[str, Iterable[Any]]) -> None:
    """Refuses data that are not the same on all ranks: one would wait for the others for ever.

    Raises:
        RankError: naming the rank and what differs.
    """
    own = {stage: _facts(data) for stage, data in {"train_data": train, **evaluations}.items()}
    of_ranks = group.exchange("the data of the ranks", own)
    for stage in {name: None for each in of_ranks for name in each}:
        found = differences([each.get(stage, {}) for each in of_ranks])
        if found is not None:
            raise RankError(
                f"{stage} differs between the ranks: {found}. Give every rank the same data: fit gives each its share of them. "
                "What is drawn, as by random_split, is drawn from a seed: call seed_all(0) before. "
                "Data that each rank has for itself are given with data_order='loader', as many batches on each."
            )


def _facts(data: Any) -> dict[str, Any]:
    if data is None:
        return {}
    if isinstance(data, Ordered) and data.own_to_rank:
        return {"batches": length_of(data)}
    traits = data.traits() if isinstance(data, Ordered) else {}
    samples = data.position().get("length") if isinstance(data, Ordered) else None
    return {"samples": samples, **traits, "batches": length_of(data), "a Subset whose indices have the hash": _subset_of(data)}


def _subset_of(data: Any) -> int | None:
    """Returns a hash of the indices of a `Subset`, such as `random_split` draws them; None for other data."""
    dataset = getattr(getattr(data, "given", None), "dataset", None)
    return hash(tuple(map(int, dataset.indices))) if isinstance(dataset, Subset) else None
