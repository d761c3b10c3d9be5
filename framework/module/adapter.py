"""From a TrainModule and a backend to the process function of the training engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import isgeneratorfunction
from typing import TYPE_CHECKING, Any, NamedTuple

from torch.optim import Optimizer

from framework.backends.base import Backend
from framework.backends.clip import Clip
from framework.engine.engine import Engine
from framework.errors import ModuleError, SettingError
from framework.metrics.recorder import Recorder
from framework.module.checks.declarations import takes_engine
from framework.module.forward import LossRecord, guarded_forward, guarded_losses, returned_loss, yielded_losses
from framework.module.non_finite.diagnosis import Diagnosis
from framework.module.non_finite.guard import NanGuard
from framework.module.optimizers import needs_closure
from framework.module.settings import FitSettings
from framework.module.step_events import EngineObserver, register_step_events
from framework.module.window import EpochWindow
from framework.steps.closure import ClosureStep
from framework.steps.returned_loss import ReturnedLoss
from framework.steps.step import Step
from framework.steps.yielded_losses import YieldedLosses

if TYPE_CHECKING:
    from framework.module.train_module import TrainModule


class Parts(NamedTuple):
    """The parts that train; none of them holds the engine.

    Attributes:
        step: the training step.
        window: of accumulated batches, where there is one.
        losses: the records of the losses met so far.
        guard: judges each step, where that was asked for.
    """

    step: Step
    window: EpochWindow | None
    losses: list[LossRecord]
    guard: NanGuard | None = None

    @property
    def window_is_open(self) -> bool:
        """Whether gradients were gathered that no optimizer has stepped with, and that no checkpoint holds."""
        return self.window is not None and self.window.taken > 0


def make_trainer(
    module: TrainModule,
    backend: Backend,
    optimizers: Mapping[str, Optimizer],
    settings: FitSettings,
    recorder: Recorder,
    on_stepped: Callable[[str], None] | None,
) -> tuple[Engine, Parts]:
    """Returns the engine that trains `module`, and its parts.

    Args:
        module: declares `training_step`.
        backend: runs the step.
        optimizers: by name.
        settings: what `fit` was told.
        recorder: takes the losses and the other scalars of each step.
        on_stepped: called with the name of each optimizer that really stepped; None where nobody waits for it.
    """
    window = EpochWindow(settings.accumulate) if settings.accumulate > 1 else None
    losses: list[LossRecord] = []
    guard = _make_guard(module, backend, optimizers, settings, recorder)
    step = _make_step(module, backend, optimizers, settings, recorder, window, on_stepped, losses, guard)
    engine = Engine(step.run)
    register_step_events(engine)
    step.observer = EngineObserver(engine)
    state = engine.state
    state.skipped_steps = 0
    if guard is not None:
        guard.state = state
    recorder.samples = lambda: backend.count(state.batch)
    return engine, Parts(step, window, losses, guard)


def compiled(step: Callable[..., Any], recorder: Recorder, backend: Backend, options: Mapping[str, Any]) -> Callable[..., Any]:
    """Returns a step of a module compiled; what it logs into the recorder stays outside of the compiled code."""
    import torch.compiler  # late, since this wakes the compiler

    recorder.log = torch.compiler.disable(recorder.log)  # type: ignore[method-assign, no-untyped-call]
    return backend.compile(step, options)


def _make_step(
    module: TrainModule,
    backend: Backend,
    optimizers: Mapping[str, Optimizer],
    settings: FitSettings,
    recorder: Recorder,
    window: EpochWindow | None,
    on_stepped: Callable[[str], None] | None,
    losses: list[LossRecord],
    guard: NanGuard | None,
) -> Step:
    clip = None if settings.clip_norm is None and settings.clip_value is None else Clip(settings.clip_norm, settings.clip_value)

    def make_record(names: str) -> LossRecord:
        stops, free = settings.nan == "stop", backend.reads_cost_nothing
        leaves_out, average = guard is not None, backend.average
        record = LossRecord(recorder, names, reads_cost_nothing=free, guarded=stops, leaves_out=leaves_out, average=average)
        losses.append(record)
        return record

    closure = next((name for name, optimizer in optimizers.items() if needs_closure(optimizer)), None)
    if isgeneratorfunction(module.training_step):
        _check_generator(module, settings, closure)
        generator = yielded_losses(takes_engine(module.training_step), recorder, optimizers, make_record, backend)
        generator = generator if guard is None else guarded_losses(generator, guard)
        return YieldedLosses(backend, optimizers, generator, place=window, clip=clip, on_stepped=on_stepped, guard=guard)
    options = settings.compile_options
    step = takes_engine(module.training_step if options is None else compiled(module.training_step, recorder, backend, options))
    forward = returned_loss(backend.parallel_step(module, step), recorder, make_record(""), backend)
    forward = forward if guard is None else guarded_forward(forward, guard)
    if closure is not None:
        _check_closure(backend, optimizers, settings, closure)
        return ClosureStep(backend, optimizers, forward, recorder.pause, clip=clip, on_stepped=on_stepped, guard=guard)
    return ReturnedLoss(backend, optimizers, forward, place=window, clip=clip, on_stepped=on_stepped, guard=guard)


def _make_guard(
    module: TrainModule, backend: Backend, optimizers: Mapping[str, Optimizer], settings: FitSettings, recorder: Recorder
) -> NanGuard | None:
    if settings.nan != "skip" and not settings.debug:
        return None
    step = takes_engine(module.training_step)  # also where it is compiled: what it does is to be seen
    return NanGuard(
        module,
        recorder,
        skips=settings.nan == "skip",
        yields=isgeneratorfunction(module.training_step),
        judges_gradients="loss_scale" not in backend.state_dict(),  # a gradient scaler leaves its steps out by itself
        diagnosis=Diagnosis(module, step, backend, optimizers, recorder) if settings.debug else None,
    )


def _check_generator(module: TrainModule, settings: FitSettings, closure: str | None) -> None:
    name = type(module).__name__
    if settings.compile_options is not None:
        raise SettingError(
            f"compile={settings.compile!r}: {name}.training_step yields its losses, which cannot be compiled. Leave compile out, "
            "or call compile() on the networks inside the module."
        )
    if closure is not None:
        raise ModuleError(
            f"{name}.training_step yields its losses, but the optimizer {closure!r} needs a closure that computes the loss several "
            "times. Return one loss, or use an optimizer that steps without a closure."
        )


def _check_closure(backend: Backend, optimizers: Mapping[str, Optimizer], settings: FitSettings, closure: str) -> None:
    kind = type(optimizers[closure]).__name__
    what = f"The optimizer {closure!r} ({kind}) needs a closure that computes the loss several times a step"
    if len(optimizers) > 1:
        raise ModuleError(f"{what}, so it has to be the only one; got {', '.join(map(repr, optimizers))}.")
    if settings.accumulate > 1:
        raise SettingError(
            f"{what}, which accumulate={settings.accumulate} does not allow. Leave accumulate out and use larger batches."
        )
    if settings.nan == "skip":
        raise SettingError(
            f"{what} and moves the weights in between, so none can be left out: nan='skip' does not work with it. Leave nan out, "
            "or use an optimizer that steps without a closure."
        )
    if not backend.takes_closure:
        raise SettingError(
            f"{what}, which the gradient scaler of {backend.name} in {backend.precision} does not allow. Use "
            "precision='fp32' or 'bf16'."
        )
