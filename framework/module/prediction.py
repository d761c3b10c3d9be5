"""Prediction: the outputs of `prediction_step`, batch by batch, on the CPU."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import torch

from framework.backends.base import Backend
from framework.engine.user_stop import refuse_user_stop_iteration
from framework.module.data_source import Limited
from framework.module.evaluation import evaluating, takes_engine
from framework.seeding import RandomStream

if TYPE_CHECKING:
    from framework.module.train_module import TrainModule


def predict_batches(module: TrainModule, data: Iterable[Any], backend: Backend, limit: int | None) -> Iterator[Any]:
    """Yields what `prediction_step` returns for each batch, as CPU tensors.

    The module is in eval mode, without gradients, only while a batch is computed: between two batches the caller has it as it was.
    """
    backend.place(module)
    step = backend.autocast(takes_engine(module.prediction_step))
    stream = RandomStream(torch.initial_seed())
    with stream:
        batches = iter(backend.feed(data if limit is None else Limited(data, limit)))
    while True:
        with evaluating(module, None, stream):
            try:
                batch = next(batches)
            except StopIteration as end:
                refuse_user_stop_iteration(end)
                return
            output = backend.to_host(step(batch, None))
        yield output
