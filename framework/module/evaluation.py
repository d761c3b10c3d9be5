"""Evaluation and prediction: steps without gradients, on a random stream of their own, with every mode put back afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from framework.backends.base import Backend
from framework.backends.tree import count_samples
from framework.data.base import none_came
from framework.data.ordered import Ordered
from framework.distributed.group import Group
from framework.engine.engine import Engine
from framework.engine.events import Events
from framework.engine.limits import EmptyDataError
from framework.errors import StepError
from framework.metrics.metric_set import MetricSet
from framework.metrics.recorder import Recorder
from framework.module.checks.data_end import no_batch, too_few
from framework.module.checks.declarations import takes_engine
from framework.module.data_source import length_of, limited
from framework.module.hooks import register_events_of, register_hooks
from framework.module.loss import split_evaluated
from framework.module.place import batch_of, doing, note_place
from framework.module.ranks.evaluated import counted
from framework.module.ranks.recorded import RecordedOverRanks
from framework.module.ranks.streams import seed_of_rank
from framework.seeding import RandomStream

if TYPE_CHECKING:
    from framework.module.declared import Declared


class EvaluationDropped(Exception):  # noqa: N818  # it is no error
    """The run is to stop now; the evaluation is made again when it goes on."""


class Evaluation:
    """Runs `evaluation_step` over data and reduces what it returns and logs.

    Args:
        module: the module.
        backend: where its step runs.
        stage: put before each result: "val", "val/name" or "test".
        handlers: objects whose `on_evaluation_<event>` hooks run as well.
        seed: of the random stream of the evaluation.
        compiled: compiles a step that logs into a recorder; None for not compiled.
        group: the processes that evaluate together, each on its share; None for one.

    Attributes:
        engine: runs the evaluation.
        to_drop: tells whether to give the evaluation up; None for never.
    """

    to_drop: Callable[[], bool] | None = None

    def __init__(
        self,
        module: Declared,
        backend: Backend,
        stage: str,
        handlers: Sequence[Any] = (),
        seed: int = 0,
        compiled: Callable[[Callable[..., Any], Recorder], Callable[..., Any]] | None = None,
        group: Group | None = None,
    ) -> None:
        self.stage = stage
        self._group = group
        self._data: Iterable[Any] = ()
        self._module = module
        self._backend = backend
        self._seed = seed
        self._recorder = Recorder(stage, reads_cost_nothing=backend.reads_cost_nothing)
        self._metrics = MetricSet(module.configure_metrics(), backend.device)
        evaluation_step = module.evaluation_step if compiled is None else compiled(module.evaluation_step, self._recorder)
        step = backend.autocast(backend.inference_step(module, takes_engine(evaluation_step)))
        process = _process(step, self._recorder, self._metrics, backend.mark_step, stage)
        if group is not None:
            self._metrics.refuse_local()
            self._recorder.over_ranks = RecordedOverRanks(group)
            self._recorder.share = share = lambda: getattr(self._data, "share", 1.0)
            process = counted(process, self._metrics, share)
        self.engine = Engine(process)
        note_place(self.engine, lambda engine: f"In the evaluation of {stage}: {doing(engine)}{batch_of(engine)}.")
        state = self.engine.state
        self._recorder.samples = lambda: count_samples(state.batch)
        state.module = module
        for target in (*handlers, module):
            register_events_of(self.engine, target)
        self._hooks = sum(register_hooks(self.engine, target, evaluation=True) for target in (*handlers, module))
        self._around = [target.evaluation_weights for target in handlers if hasattr(target, "evaluation_weights")]

    def directions(self) -> dict[str, bool | None]:
        """Returns by full name whether higher is better; None for a metric that does not know it."""
        return {f"{self.stage}/{name}": higher for name, higher in self._metrics.directions().items()}

    def run(self, data: Iterable[Any], limit: int | None = None) -> dict[str, Any]:
        """Returns the results by full name, such as "val/accuracy".

        Args:
            data: batches.
            limit: the number of batches to use at most; None for all.

        Raises:
            DataError: no batch came, or fewer than the data says.
            StepError: nothing came of it.
            EvaluationDropped: the run is to stop.
        """
        self._metrics.reset()
        self._recorder.clear()
        self._data = data
        if isinstance(data, Ordered):
            data.rewind()
        with ExitStack() as stack:
            for weights in self._around:
                stack.enter_context(weights(self._module))
            stack.enter_context(evaluating(self._module, self._recorder, RandomStream(seed_of_rank(self._seed, self._group))))
            run_once(self.engine, self._backend, data, limit, self.stage)
            if self.to_drop is not None and self.to_drop():
                raise EvaluationDropped
            over_ranks = self._recorder.over_ranks
            computed = self._metrics.compute(over_ranks.feeding if isinstance(over_ranks, RecordedOverRanks) else None)
            if self._backend.mark_step is not None:
                self._backend.mark_step()  # else the rest of that is recorded with the next training step, which is compiled anew
        self._recorder.flush(self.engine.state.iteration, self.engine.state.epoch)
        results = self._recorder.means()
        for name, value in computed.items():
            key = f"{self.stage}/{name}"
            if key in results:
                raise StepError(f"{key} is recorded twice: as a metric and by log or the mapping of evaluation_step. Rename one.")
            results[key] = value
        if not results and not self._hooks:  # hooks may have made something of the outputs
            raise StepError(
                f"The evaluation of {self.stage} gave no result: evaluation_step returned None and logged nothing. Return "
                "(y_pred, y) for the metrics of configure_metrics or a mapping such as {'loss': loss}, or use log."
            )
        return results


@contextmanager
def evaluating(module: Declared, recorder: Recorder | None, stream: RandomStream) -> Iterator[None]:
    """Puts the module into eval mode, without gradients and on a random stream of its own; puts everything back afterwards."""
    modes = {part: part.training for part in module.modules()}
    with stream, torch.no_grad(), logging_to(module, recorder):
        module.eval()
        try:
            yield
        finally:
            restore_modes(modes)
            torch.clear_autocast_cache()  # torch 2.9 would lose gradients of weights cast here, if a step evaluates


def restore_modes(modes: Mapping[nn.Module, bool]) -> None:
    """Puts each submodule back into the mode it was in."""
    for part, training in modes.items():
        part.training = training


@contextmanager
def logging_to(module: Declared, recorder: Recorder | None) -> Iterator[None]:
    """Lets `module.log` write into `recorder` while the block runs."""
    parts: list[Any] = [part for part in module.modules() if hasattr(part, "_recorder")]  # modules inside log as well
    before = [part._recorder for part in parts]
    for part in parts:
        part._recorder = recorder
    try:
        yield
    finally:
        for part, own in zip(parts, before, strict=True):
            part._recorder = own


def run_once(engine: Engine, backend: Backend, data: Iterable[Any], limit: int | None, stage: str) -> None:
    """Runs an engine once over the data; no batch at all is an error."""
    batches, length = limited(data, limit)
    state = engine.state
    state.max_epochs = None  # from the beginning, whatever was before
    state.stage = stage.split("/")[0]
    feed = backend.feed(batches)
    what = f"The {stage} data"
    with named_if_empty(what, data, feed), refusing_short_pass(engine, what, data):
        engine.run(feed, max_epochs=1, epoch_length=length)
    raise_taken(engine)
    state.batch = state.output = state.dataloader = None


def raise_taken(engine: Engine) -> None:
    """Raises the error that a hook has looked at: that does not make it disappear. The engine forgets it, and so can be freed."""
    error, engine.state.exception = engine.state.exception, None
    if error is not None:
        try:
            raise error
        finally:
            del error


@contextmanager
def named_if_empty(what: str, data: Any, feed: Any) -> Iterator[None]:
    """Turns the engine's error about `feed`, which gave no batch, into one that names the data it was made of."""
    try:
        yield
    except EmptyDataError as error:
        if error.data is not feed:  # of another engine, inside
            raise
        raise no_batch(what, data) from error


@contextmanager
def refusing_short_pass(engine: Engine, what: str, data: Any) -> Iterator[None]:
    """Raises where the data of an engine gives fewer batches than it says: the engine would take some a second time."""

    def refuse(engine: Engine) -> None:
        given, said = engine.state.iteration, length_of(data)
        raise no_batch(what, data) if given == 0 or said is None else too_few(what, said, given)

    with engine.add_event_handler(Events.DATALOADER_STOP_ITERATION, refuse):
        yield


def _process(
    step: Callable[[Any, Any], Any], recorder: Recorder, metrics: MetricSet, mark_step: Callable[[], None] | None, stage: str
) -> Callable[[Engine, Any], Any]:
    def evaluate_batch(engine: Engine, batch: Any) -> Any:
        if batch is None:
            raise none_came(f"The {stage} data", engine.state.iteration)
        output = step(batch, engine)
        if isinstance(output, Mapping):
            summed, rest = split_evaluated(output, metrics)
            if summed is not None:
                recorder.record("loss", summed.mean(), summed.count)
            for name, value in rest.items():
                if isinstance(value, tuple | list):
                    if name not in metrics:
                        raise StepError(
                            f"evaluation_step returned a pair under {name!r}, but configure_metrics has no metric {name!r}. It has "
                            f"{', '.join(map(repr, metrics)) or 'none'}; a scalar is recorded under any name."
                        )
                    metrics.update(value, name)
                elif name in metrics:
                    raise StepError(
                        f"evaluation_step returned a scalar under {name!r}, which is a metric of configure_metrics. Return "
                        f"{{{name!r}: (y_pred, y)}} for it, or rename one."
                    )
                else:
                    recorder.record(name, value)
        elif output is not None:
            metrics.update(output)
        if mark_step is not None:
            mark_step()
        return output

    return evaluate_batch
