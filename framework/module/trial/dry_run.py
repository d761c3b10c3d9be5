"""`fit(dry_run=True)`: one batch of everything, no file, and afterwards everything as it was."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from framework.backends.base import Backend
from framework.checkpoint.prepared import prepare_save
from framework.errors import DataError
from framework.module.assembly import Assembled
from framework.module.data_source import is_one_shot
from framework.module.ranks.evaluated import is_main
from framework.module.ranks.strategies import group_of
from framework.module.result import FitResult
from framework.module.resuming.snapshot import stateful
from framework.module.settings import FitSettings
from framework.module.trial.measurement import Meter
from framework.module.trial.summary import layer_rows, measure_sizes, summary
from framework.module.trial.without_trace import without_trace

if TYPE_CHECKING:
    from framework.module.train_module import TrainModule


class NoFolder:
    """Stands where a run has its folder: refuses what a checkpoint could not hold, and writes nothing.

    Attributes:
        curves: None, as there is no file of them.
        stored: bytes of the tensors of the newest checkpoint.
    """

    curves = None

    def __init__(self) -> None:
        self.stored = 0

    def save(self, step: int, parts: Mapping[str, Any], *, best: bool, facts: Mapping[str, Any]) -> None:
        """Looks through what would be written.

        Raises:
            CheckpointError: it holds something that cannot be stored.
        """
        prepared = prepare_save(step, parts, best=best, facts=facts)
        tensors = {id(each): each for part in prepared.parts.values() for each in part.tensors.values()}
        self.stored = sum(each.numel() * each.element_size() for each in tensors.values())

    def write_status(self, metrics: Mapping[str, Any], **facts: Any) -> None:
        """Writes nothing."""


class DryRun:
    """Shortens a run to one batch of everything, measures it, and puts everything back when the block ends.

    Put back are the module (weights, gradients, buffers, attributes, extra state, modes, device), optimizers and schedulers that it
    holds, a backend's scaler, handlers that have a state, the global random streams, and the generators of the data.

    Args:
        module, backend, settings: of the run.
        data: that for training and for evaluation.

    Attributes:
        settings: the shortened ones.
        planned: those of the run as it was meant.
        folder: takes the checkpoints; None for a run without.

    Raises:
        DataError: data that can be passed over only once: the batch would be lost.
    """

    def __init__(self, module: TrainModule, backend: Backend, data: Iterable[Any], settings: FitSettings) -> None:
        self.planned = settings
        self.settings = _shortened(settings)
        self.folder = None if settings.run_dir is None else NoFolder()
        self._module = module
        self._backend = backend
        self._data = [each for each in data if each is not None]
        self._sees_layers = settings.compile_options is None
        self._meter = Meter(module, backend, sees_layers=self._sees_layers)
        self._text = ""
        self._open = ExitStack()
        for each in self._data:
            _refuse_one_shot(each)

    def __enter__(self) -> Self:
        handlers = stateful(self.planned.handlers).values()
        self._open.enter_context(without_trace(self._module, self._backend, self._data, handlers))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._open.__exit__(kind, error, trace)

    def attach(self, assembled: Assembled) -> None:
        """Measures the run from now on."""
        evaluations = ((evaluation.stage, evaluation.engine) for evaluation, *_ in assembled.run.evaluations)
        self._meter.attach(assembled.engine, evaluations)

    def conclude(self, assembled: Assembled) -> None:
        """Takes down what the run has come to, while gradients and the optimizers' state are there."""
        found = self._meter.found
        if found.batches:
            rows = layer_rows(self._module, found.calls, sees_layers=self._sees_layers)
            sizes = measure_sizes(self._module, assembled.optimizers.values())
            stored = None if self.folder is None else self.folder.stored
            self._text = summary(self._module, self._backend, rows, sizes, found, sees_layers=self._sees_layers, stored=stored)
        assembled.engine.state.optimizers = {}  # they step the module no more, and their state is as large as it

    def tell(self, result: FitResult) -> FitResult:
        """Prints the summary and returns the result under its true name: nobody should take it for a trained module."""
        if self._text and is_main(group_of(self._backend)):
            print(self._text, flush=True)  # noqa: T201  # it is what was asked for
        if result.status == "interrupted":
            return result
        ended = "" if result.status == "completed" else f" It ended early: {result.reason}"
        return replace(result, status="stopped", reason=f"dry_run: one batch of everything.{ended}")


def _shortened(settings: FitSettings) -> FitSettings:
    """Returns the settings of a run of one window of batches, with one batch of each evaluation."""
    batches, length, limit = settings.accumulate, settings.epoch_length, settings.limit_train_batches
    return replace(
        settings,
        max_epochs=1,
        max_iters=None,
        max_time_s=None,
        epoch_length=None if length is None else min(length, batches),
        limit_train_batches=min(limit or batches, batches) if length is None else None,
        limit_val_batches=1,
        validate_every=1,
        progress=False,
    )


def _refuse_one_shot(data: Any) -> None:
    if is_one_shot(data) and not hasattr(data, "load_state_dict"):
        raise DataError(
            f"dry_run=True would take the first batch out of this {type(data).__name__}, which gives its batches only once, so "
            "that the run would lack it. Give a function that makes it, a list or a DataLoader; or leave dry_run out."
        )
