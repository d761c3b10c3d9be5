"""From a TrainModule and a backend to the process function of the training engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import isgeneratorfunction
from math import isfinite
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.optim import Optimizer

from framework.backends.base import Backend, Clip
from framework.backends.step import TrainingStep
from framework.backends.tree import count_samples, map_tensors
from framework.engine.engine import Engine
from framework.errors import ModuleError
from framework.metrics.recorder import Recorder
from framework.module.declarations import wants_engine
from framework.module.loss import refuse_non_finite, split_output
from framework.module.settings import FitSettings
from framework.module.step_events import EngineObserver, register_step_events
from framework.module.window import EpochWindow

if TYPE_CHECKING:
    from framework.module.train_module import TrainModule


def make_trainer(
    module: TrainModule,
    backend: Backend,
    optimizers: Mapping[str, Optimizer],
    settings: FitSettings,
    recorder: Recorder,
    on_stepped: Callable[[], None] | None,
) -> tuple[Engine, TrainingStep, EpochWindow | None]:
    """Returns the engine that trains `module`, its step, and the window of accumulated batches where there is one.

    Args:
        module: declares `training_step`.
        backend: runs the step.
        optimizers: stepped together.
        settings: what `fit` was told.
        recorder: takes the loss and the other scalars of each step.
        on_stepped: called whenever the optimizers really stepped; None where nobody waits for it.
    """
    if isgeneratorfunction(module.training_step):
        raise ModuleError(
            f"{type(module).__name__}.training_step is a generator (it has a yield); fit does not take several losses a step yet. "
            "Return one loss."
        )
    window = EpochWindow(settings.accumulate) if settings.accumulate > 1 else None
    clip = None if settings.clip_norm is None and settings.clip_value is None else Clip(settings.clip_norm, settings.clip_value)
    forward = _forward(module, backend, recorder, guarded=settings.nan == "stop")
    step = TrainingStep(backend, optimizers, forward, place=window, clip=clip, on_stepped=on_stepped)
    engine = Engine(step.run)
    register_step_events(engine)
    step.observer = EngineObserver(engine)
    state = engine.state
    recorder.samples = lambda: count_samples(state.batch)
    return engine, step, window


def _forward(
    module: TrainModule, backend: Backend, recorder: Recorder, guarded: bool
) -> Callable[[Engine, Any], tuple[Tensor, Any]]:
    """Returns the function that runs `training_step` and records what it returned: the loss, and the step's output.

    Each microsecond here is paid in every step, hence the short cuts for a batch (x, y, ...) and a lone loss.
    """
    training_step: Callable[..., Any] = module.training_step
    with_engine = wants_engine(training_step)
    reads_cost_nothing = backend.reads_cost_nothing
    channel = recorder.channel("loss")
    record_value, record_weight = channel.values.append, channel.weights.append

    def forward(engine: Engine, batch: Any) -> tuple[Tensor, Any]:
        samples = count_samples(batch)
        returned = training_step(batch, engine) if with_engine else training_step(batch)
        if type(returned) is Tensor and returned.requires_grad and returned.dim() == 0:
            loss, value = returned, returned.detach()
            output: Any = value
        else:
            loss, rest = split_output(returned)
            value = loss.detach()
            for name, scalar in rest.items():
                recorder.record(name, scalar)
            output = {"loss": value, **map_tensors(rest, Tensor.detach)} if rest else value
        if reads_cost_nothing:
            number = value.item()
            if guarded and not isfinite(number):
                refuse_non_finite(number, engine.state.iteration, engine.state.epoch)
            record_value(number)
        else:
            record_value(value)
        record_weight(samples)
        return loss, output

    return forward
