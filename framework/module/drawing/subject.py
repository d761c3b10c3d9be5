"""What is drawn: a run that was put together and has not begun."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch.optim import Optimizer

from framework.backends.base import Backend
from framework.backends.ownership import parameters_of
from framework.data.ordered import Ordered
from framework.engine.engine import Engine
from framework.module.checks.declarations import takes_engine
from framework.module.drawing.names import Names
from framework.module.resuming.saver import Saver
from framework.module.run import Run
from framework.module.schedules import Schedules
from framework.module.settings import FitSettings
from framework.steps.yielded_losses import YieldedLosses

if TYPE_CHECKING:
    from framework.module.train_module import TrainModule


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A run that was put together.

    Attributes:
        module, settings: as `fit` gets them.
        given: the settings that were given, by name.
        backend: where the steps would run.
        engine, run, optimizers, schedules, source: as they were put together.
        saver: writes the checkpoints; None without a folder.
        train: the training data as given; None for none.
        val: the data of the evaluations by stage, as given.
        names: of the objects.
    """

    module: TrainModule
    settings: FitSettings
    given: Mapping[str, Any]
    backend: Backend
    engine: Engine
    run: Run
    optimizers: Mapping[str, Optimizer]
    schedules: Schedules
    source: Ordered | None
    saver: Saver | None
    train: Any
    val: Mapping[str, Any]
    names: Names

    @property
    def length(self) -> int | None:
        """Batches an epoch, None where the data does not know."""
        return self.run.epoch_length

    @property
    def has_several(self) -> bool:
        """Whether the optimizers have names: several of them, or one that losses are yielded for."""
        return len(self.optimizers) > 1 or isinstance(self.run.parts.step, YieldedLosses)

    @property
    def training_step(self) -> str:
        """What the training step is called by."""
        return "model.training_step" if self.settings.compile_options is None else "training_step"

    @property
    def evaluation_step(self) -> str:
        """What the evaluation step is called by."""
        return "model.evaluation_step" if self.settings.compile_options is None else "evaluation_step"

    @property
    def steps_all_parameters(self) -> bool:
        """Whether the optimizers together hold all parameters of the module, in its order."""
        held = [id(parameter) for parameter in parameters_of(self.optimizers.values())]
        return held == [id(parameter) for parameter in self.module.parameters()]

    def takes_engine(self, method: str) -> bool:
        """Tells whether a step was declared with the engine."""
        step = getattr(self.module, method)
        return takes_engine(step) is step
