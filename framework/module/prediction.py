"""Prediction: the outputs of `prediction_step`, batch by batch, on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from framework.backends.base import Backend
from framework.backends.tree import join_trees
from framework.data.base import none_came
from framework.distributed.group import Group, joined
from framework.engine.engine import Engine
from framework.engine.events import Events
from framework.errors import StepError
from framework.module.checks.declarations import takes_engine
from framework.module.data_source import limited
from framework.module.evaluation import evaluating, named_if_empty, raise_taken, refusing_short_pass
from framework.module.hooks import register_hooks
from framework.module.place import advised, batch_of, doing, note_place
from framework.module.ranks.evaluated import sharing
from framework.module.ranks.streams import seed_of_rank
from framework.seeding import RandomStream
from framework.tracebacks import folded

if TYPE_CHECKING:
    from framework.module.declared import Declared

_WHAT = "The data to predict on"


def predict_batches(module: Declared, data: Iterable[Any], backend: Backend, limit: int | None) -> Iterator[Any]:
    """Yields what `prediction_step` returns for each batch, as CPU tensors.

    The module is in eval mode, without gradients, only while a batch is computed: between two batches the caller has it as it was.
    For this the engine is interrupted after each batch and goes on with the next. Of several processes each computes its share, and
    all get the whole, joined in the order of the data.

    Raises:
        DataError: no batch came.
    """
    with folded(), joined(backend.device) as group, sharing(module, backend, data, group) as (own, seed):
        try:
            yield from _predict(module, own, backend, limit, group, RandomStream(seed_of_rank(seed, group)))
        except GeneratorExit:  # the caller wants no more, on all ranks: no failure, which it would be outside of the block
            return


def _predict(
    module: Declared, data: Iterable[Any], backend: Backend, limit: int | None, group: Group | None, stream: RandomStream
) -> Iterator[Any]:
    step = backend.autocast(backend.inference_step(module, takes_engine(module.prediction_step)))
    engine = Engine(_process(step, backend))
    note_place(engine, lambda engine: f"While predicting: {doing(engine)}{batch_of(engine)}.")
    register_hooks(engine, module, evaluation=True)
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: engine.interrupt())
    engine.state.stage = "predict"
    batches, length = limited(data, limit)
    feed, done = backend.feed(batches), 0
    while True:
        with folded(), advised(), evaluating(module, None, stream), named_if_empty(_WHAT, data, feed):
            with refusing_short_pass(engine, _WHAT, data):
                engine.run(feed, max_epochs=1, epoch_length=length if done == 0 else None)
            raise_taken(engine)
        if engine.state.iteration == done:
            return
        done = engine.state.iteration
        yield (
            engine.state.output if group is None else _joined(group, engine.state.output, counts=getattr(data, "share", 1.0) != 0.0)
        )


def _joined(group: Group, output: Any, *, counts: bool) -> Any:
    """Returns the outputs of all ranks for one step, joined in the order of the samples, without those that only fill up."""
    of_ranks = group.exchange("predictions", (counts, output))
    try:
        return join_trees([each for counted, each in of_ranks if counted])
    except (ValueError, RuntimeError, TypeError, LookupError) as error:
        raise StepError(
            f"The predictions of {group.world_size} ranks cannot be joined along their first dimension: {error}. Let "
            "prediction_step return tensors whose first dimension is that of the batch."
        ) from error


def _process(step: Callable[[Any, Any], Any], backend: Backend) -> Callable[[Engine, Any], Any]:
    def predict_batch(engine: Engine, batch: Any) -> Any:
        if batch is None:
            raise none_came(_WHAT, engine.state.iteration)
        output = step(batch, engine)
        if backend.mark_step is not None:
            backend.mark_step()  # once for all tensors of the output
        return backend.to_host(output)

    return predict_batch
