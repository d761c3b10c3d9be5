"""Runs `training_step` and records what it returns or yields: what the steps call to get their losses."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any

from torch import Tensor

from framework.backends.base import Backend
from framework.backends.tree import map_tensors
from framework.engine.engine import Engine
from framework.metrics.recorder import Recorder
from framework.module.loss import refuse_non_finite, split_end, split_output, split_yielded
from framework.steps.update import SummedLoss, weighed
from framework.steps.yielded_losses import Losses

if TYPE_CHECKING:
    from framework.module.non_finite.guard import NanGuard

TrainingStep = Callable[[Any, Engine], Any]


class LossRecord:
    """Records the losses of one name.

    Raises:
        StepError: something was logged under it.

    Args:
        recorder: where to.
        optimizers: those that the loss is for, where there are several losses.
        reads_cost_nothing: read each loss at once, and refuse one that is not finite.
        guarded: refuse losses that are not finite.
        leaves_out: record a loss that is not finite without weight, and refuse none: it is judged elsewhere. Each is read at once.
        average: gives the mean of a number over processes, which leave out a loss together; None for one process.

    Attributes:
        name: under which they are recorded.
        left_out: the last loss was left out.
    """

    def __init__(
        self,
        recorder: Recorder,
        optimizers: str,
        *,
        reads_cost_nothing: bool,
        guarded: bool,
        leaves_out: bool = False,
        average: Callable[[float], float] | None = None,
    ) -> None:
        self.name = f"loss/{optimizers}" if optimizers else "loss"
        channel = recorder.reserve(self.name)
        self._recorder = recorder
        self._keep_value, self._keep_weight = channel.values.append, channel.weights.append
        self._optimizers = optimizers
        self._reads_cost_nothing = reads_cost_nothing or leaves_out
        self._guarded = guarded or leaves_out
        self._leaves_out = leaves_out
        self._average = average
        self.left_out = False
        self._iterations: list[int] = []  # of the losses not yet read

    def keep(self, loss: Tensor | SummedLoss, samples: int, engine: Engine) -> Tensor:
        """Records a loss and returns it, without gradients."""
        value = (loss.mean() if isinstance(loss, SummedLoss) else loss).detach()
        if self._recorder.paused:
            return value
        if self._reads_cost_nothing:
            number = value.item()
            if self._leaves_out:
                self.left_out = not self._all_finite(number)
                if self.left_out:
                    self._keep_value(0.0)  # all processes record the same names
                    self._keep_weight(0.0)
                    return value
            elif self._guarded and not isfinite(number):
                refuse_non_finite(number, engine.state.iteration, engine.state.epoch, self._optimizers)
            self._keep_value(number)
        else:
            self._iterations.append(engine.state.iteration)
            self._keep_value(value)
        self._keep_weight(loss.count if isinstance(loss, SummedLoss) else samples)
        return value

    def _all_finite(self, number: float) -> bool:
        """Tells whether the loss is finite on all processes."""
        finite = isfinite(number)
        return finite if self._average is None else self._average(float(finite)) == 1.0

    def check(self, values: Sequence[float]) -> tuple[int, float, str] | None:
        """Takes the losses that were now read off the device; returns iteration, value and optimizers of the first not finite."""
        at, self._iterations = self._iterations, []
        if not self._guarded:
            return None
        pairs = zip(at, values, strict=False)  # where reading costs nothing, they were checked in their steps
        return next(((iteration, value, self._optimizers) for iteration, value in pairs if not isfinite(value)), None)


def returned_loss(
    step: TrainingStep, recorder: Recorder, record: LossRecord, backend: Backend
) -> Callable[[Engine, Any], tuple[Any, Any]]:
    """Returns the function that computes the loss of a batch and the output of its iteration, and records both."""
    count = backend.count

    def forward(engine: Engine, batch: Any) -> tuple[Tensor | SummedLoss, Any]:
        samples = count(batch)
        returned = step(batch, engine)
        if type(returned) is Tensor and returned.requires_grad and returned.dim() == 0:
            return returned, record.keep(returned, samples, engine)  # the usual case, each microsecond of which counts
        loss, rest = split_output(returned)
        loss = _counted(loss, backend)
        value = record.keep(loss, samples, engine)
        _record_rest(recorder, rest, left_out=record.left_out)
        return loss, {"loss": value, **map_tensors(rest, Tensor.detach)} if rest else value

    return forward


def yielded_losses(
    step: TrainingStep,
    recorder: Recorder,
    optimizers: Collection[str],
    make_record: Callable[[str], LossRecord],
    backend: Backend,
) -> Callable[[Engine, Any], Losses]:
    """Returns the generator function that passes on the losses of a batch as they are yielded, and records them.

    Args:
        step: yields (name of an optimizer, loss).
        recorder: takes what the step returns at its end.
        optimizers: the names that may be yielded.
        make_record: makes the record of the losses for an optimizer.
        backend: tells what the batch at hand counts.
    """
    records: dict[tuple[str, ...], LossRecord] = {}

    def losses(engine: Engine, batch: Any) -> Losses:
        samples, output, whole = backend.count(batch), {}, True
        running = step(batch, engine)
        try:
            while True:
                try:
                    yielded = next(running)
                except StopIteration as end:
                    rest = split_end(end.value)
                    break
                names, loss = split_yielded(yielded, optimizers)
                loss = _counted(loss, backend)
                record = records.get(names) or records.setdefault(names, make_record("+".join(names)))
                output[record.name] = record.keep(loss, samples, engine)
                whole = whole and not record.left_out
                yield names, loss
        finally:
            running.close()
        _record_rest(recorder, rest, left_out=not whole)
        return {**output, **map_tensors(rest, Tensor.detach)}

    return losses


def _record_rest(recorder: Recorder, rest: Mapping[str, Any], *, left_out: bool) -> None:
    """Records what a step has returned beside its loss; without weight where the step is left out."""
    for name, scalar in rest.items():
        if left_out:
            recorder.record(name, 0.0, n=0.0)
        else:
            recorder.record(name, scalar)


def _counted(loss: Tensor | SummedLoss, backend: Backend) -> Tensor | SummedLoss:
    """Returns a loss that is a sum without anything in it, where the batch only fills up; any other as it is."""
    return weighed(loss, 0.0) if isinstance(loss, SummedLoss) and backend.weight == 0.0 else loss


def guarded_forward(forward: Callable[[Engine, Any], tuple[Any, Any]], guard: NanGuard) -> Callable[[Engine, Any], tuple[Any, Any]]:
    """Returns the function that computes the loss of a batch such that the guard knows when it begins."""

    def guarded(engine: Engine, batch: Any) -> tuple[Any, Any]:
        guard.begin(engine, batch)
        return forward(engine, batch)

    return guarded


def guarded_losses(losses: Callable[[Engine, Any], Losses], guard: NanGuard) -> Callable[[Engine, Any], Losses]:
    """Returns the generator function of the losses of a batch such that the guard knows when each begins."""

    def guarded(engine: Engine, batch: Any) -> Losses:
        guard.begin(engine, batch)
        running = losses(engine, batch)
        try:
            while True:
                try:
                    yielded = next(running)
                except StopIteration as end:
                    return end.value
                yield yielded
                guard.begin_next_loss()
        finally:
            running.close()

    return guarded
