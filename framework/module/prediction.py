"""Prediction: the outputs of `prediction_step`, batch by batch, on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import torch

from framework.backends.base import Backend
from framework.data.base import none_came
from framework.engine.engine import Engine
from framework.engine.events import Events
from framework.module.checks.declarations import takes_engine
from framework.module.data_source import limited
from framework.module.evaluation import evaluating, named_if_empty, raise_taken, refusing_short_pass
from framework.module.hooks import register_hooks
from framework.module.place import advised, batch_of, doing, note_place
from framework.seeding import RandomStream
from framework.tracebacks import folded

if TYPE_CHECKING:
    from framework.module.declared import Declared


def predict_batches(module: Declared, data: Iterable[Any], backend: Backend, limit: int | None) -> Iterator[Any]:
    """Yields what `prediction_step` returns for each batch, as CPU tensors.

    The module is in eval mode, without gradients, only while a batch is computed: between two batches the caller has it as it was.
    For this the engine is interrupted after each batch and goes on with the next.

    Raises:
        DataError: no batch came.
    """
    backend.place(module)
    step = backend.autocast(takes_engine(module.prediction_step))
    engine = Engine(_process(step, backend))
    note_place(engine, lambda engine: f"While predicting: {doing(engine)}{batch_of(engine)}.")
    register_hooks(engine, module, evaluation=True)
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: engine.interrupt())
    engine.state.stage = "predict"
    batches, length = limited(data, limit)
    what = "The data to predict on"
    feed, stream, done = backend.feed(batches), RandomStream(torch.initial_seed()), 0
    while True:
        with folded(), advised(), evaluating(module, None, stream), named_if_empty(what, data, feed):
            with refusing_short_pass(engine, what, data):
                engine.run(feed, max_epochs=1, epoch_length=length if done == 0 else None)
            raise_taken(engine)
        if engine.state.iteration == done:
            return
        done = engine.state.iteration
        yield engine.state.output


def _process(step: Callable[[Any, Any], Any], backend: Backend) -> Callable[[Engine, Any], Any]:
    def predict_batch(engine: Engine, batch: Any) -> Any:
        if batch is None:
            raise none_came("The data to predict on", engine.state.iteration)
        output = step(batch, engine)
        if backend.mark_step is not None:
            backend.mark_step()  # once for all tensors of the output
        return backend.to_host(output)

    return predict_batch
