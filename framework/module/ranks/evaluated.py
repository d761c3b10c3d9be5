"""Evaluation and prediction on several ranks, each on its share of the data; a batch that only fills up counts for nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from framework.backends.base import Backend
from framework.checkpoint.sharded import is_sharded
from framework.data.ordered import ordered
from framework.distributed.group import Group
from framework.distributed.replicas import refuse_differences, send_from_main
from framework.engine.engine import Engine
from framework.metrics.metric_set import MetricSet
from framework.module.ranks.data import refuse_other_data, shares_of


def is_main(group: Group | None) -> bool:
    """Tells whether this process writes what is written once: the only one, or the first."""
    return group is None or group.is_main


@contextmanager
def sharing(module: nn.Module, backend: Backend, data: Iterable[Any], group: Group | None) -> Iterator[tuple[Iterable[Any], int]]:
    """Places the module, and yields the share of the data that is this process's, and the seed of the evaluation.

    Args:
        module, backend: of the evaluation.
        data: batches, the same on all ranks.
        group: the processes; None for one, whose share is all of the data.
    """
    backend.place(module)
    seed = torch.initial_seed()
    if group is None:
        yield data, seed
        return
    seed = group.from_main("seed", seed)
    if not is_sharded([*module.parameters()]):
        refuse_differences(module, group)
        send_from_main([*module.parameters(), *module.buffers()], group)
    source = ordered(data, seed, shares=shares_of(group), resumes=False)
    source.name = "data"
    try:
        refuse_other_data(group, None, {"data": source})
        yield source, seed
    finally:
        source.close()


def counted(process: Callable[[Engine, Any], Any], metrics: MetricSet, share: Callable[[], float]) -> Callable[[Engine, Any], Any]:
    """Returns a process function that feeds metrics with the batches that count.

    One that only fills up runs all the same, since others may wait for what it exchanges.

    Args:
        process: feeds them with every batch.
        metrics: of the evaluation.
        share: returns what the batch at hand counts.
    """

    def evaluate_batch(engine: Engine, batch: Any) -> Any:
        if share() != 0.0:
            return process(engine, batch)
        with metrics.unfed():
            return process(engine, batch)

    return evaluate_batch
