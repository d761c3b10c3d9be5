"""`find_lr`: trains a few steps with a rising learning rate, and puts everything back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from math import inf, isfinite
from numbers import Real
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from framework.backends.base import Backend
from framework.backends.selector import select_backend
from framework.engine.engine import Engine
from framework.engine.events import Events
from framework.errors import DataError, NonFiniteError, SettingError, StepError
from framework.module.assembly import assemble
from framework.module.checks.at_begin import check_module, check_train_data, training_alone
from framework.module.data_source import is_one_shot
from framework.module.drawing.show_loop import settings_of
from framework.module.evaluation import logging_to, named_if_empty, raise_taken
from framework.module.hooks import register_hooks
from framework.module.place import advised, batch_of, doing, note_place
from framework.module.ranks.strategies import group_of, joined_for, parallel
from framework.module.ranks.streams import seed_apart
from framework.module.settings import FitSettings, whole
from framework.module.step_events import fire_closed
from framework.module.trial.range_test import RangeTest
from framework.module.trial.without_trace import without_trace
from framework.seeding import seed_all
from framework.tracebacks import folded

if TYPE_CHECKING:
    from framework.module.train_module import TrainModule


def find_lr(
    module: TrainModule,
    train_data: Any,
    *,
    lowest: float = 1e-7,
    highest: float = 10.0,
    steps: int = 100,
    optimizer: str | None = None,
    accelerator: str | Backend = "auto",
    precision: str | None = None,
    accumulate: int = 1,
    clip_norm: float | None = None,
    clip_value: float | None = None,
    seed: int | None = None,
) -> RangeTest:
    """Trains a few steps with a learning rate that rises exponentially, and returns the losses: the learning-rate range test.

    It ends early where the loss diverges. Schedules are left out; the module's hooks run, but those at the end of an epoch and of a
    run. Groups of parameters keep the proportions of their rates; a rate is that of the group with the largest. Each step is
    waited for. Several processes find one rate, that of the steps that they make together. Afterwards the module, its data and the
    random streams are as they were.

    See: Smith, "Cyclical Learning Rates for Training Neural Networks" (2015), arXiv:1506.01186.

    Args:
        module: trained, and put back.
        train_data: as for `fit`; it starts anew where it ends.
        lowest, highest: the first and the last rate.
        steps: of the optimizer.
        optimizer: the name of the one whose rate rises, where there are several; the others keep theirs.
        accelerator, precision, accumulate, clip_norm, clip_value, seed: as for `fit`.

    Raises:
        SettingError: a value of a wrong type or out of range.
        NonFiniteError: the first loss is NaN or infinite.
        FrameworkError: a mistake in the module or the data, as in `fit`.

    Example:
        >>> import torch
        >>> from framework import TrainModule, find_lr
        >>> class Line(TrainModule):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.layer = torch.nn.Linear(1, 1)
        ...     def training_step(self, batch):
        ...         return (self.layer(batch) - 3 * batch).square().mean()
        ...     def configure_optimizers(self):
        ...         return torch.optim.SGD(self.parameters(), lr=0.1)
        >>> found = find_lr(Line(), [torch.linspace(-1, 1, 8).reshape(8, 1)], highest=1e3)
        >>> 0.001 < found.suggestion < 10, found.reason.startswith("The loss diverged at the rate ")
        (True, True)
    """
    with folded():
        whole("steps", steps, least=2)
        whole("accumulate", accumulate)
        _check_rates(lowest, highest)
        where = {"accelerator": accelerator, "precision": precision, "seed": seed}
        how = {"accumulate": accumulate, "clip_norm": clip_norm, "clip_value": clip_value, "nan": "ignore", "progress": False}
        settings = settings_of(module, {**where, **how, "max_epochs": 1, "epoch_length": steps * accumulate})
        check_module(module, settings)
        train = check_train_data(train_data, settings)
        if is_one_shot(train):
            raise DataError(
                f"find_lr would take batches out of this {type(train).__name__}, which gives its batches only once. Give a "
                "function that makes it, a list or a DataLoader."
            )
        backend = select_backend(settings.accelerator, settings.precision)
        ramp = _Ramp(lowest, highest, steps, accumulate)
        data = () if train is None else (train,)
        with joined_for(settings, backend.device) as group:
            backend = parallel(module, backend, settings, group)
            with advised(), training_alone(module), without_trace(module, backend, data):
                if settings.seed is not None:
                    seed_all(settings.seed)
                _train(module, backend, train, settings, ramp, optimizer)
        return ramp.test


class _Ramp:
    """Raises the learning rate before each step, and takes down the losses.

    Args:
        lowest, highest: the first and the last rate.
        steps: from the one to the other.
        accumulate: batches a step.

    Attributes:
        test: what was taken down.
    """

    def __init__(self, lowest: float, highest: float, steps: int, accumulate: int) -> None:
        self.test = RangeTest()
        self._lowest = lowest
        self._highest = highest
        self._steps = steps
        self._accumulate = accumulate
        self._rate = lowest
        self._groups: list[tuple[dict[str, Any], float]] = []  # with the share of the rate that each takes
        self._name = ""  # of the optimizer

    def attach(self, engine: Engine, optimizers: Mapping[str, Optimizer], name: str | None) -> None:
        """Raises the rate of an optimizer of `engine` from now on.

        Raises:
            SettingError: it is not told which, there is none of this name, or it has no rate.
        """
        names = ", ".join(map(repr, optimizers))
        if name is None and len(optimizers) > 1:
            raise SettingError(f"find_lr raises the rate of one optimizer, and there are several. Give optimizer: one of {names}.")
        name = next(iter(optimizers)) if name is None else name
        if name not in optimizers:
            raise SettingError(f"optimizer={name!r}: there is no such optimizer; there are {names}.")
        groups = optimizers[name].param_groups
        if any("lr" not in group for group in groups):
            raise SettingError(f"The optimizer {name!r} ({type(optimizers[name]).__name__}) has no learning rate 'lr' to raise.")
        largest = max(float(group["lr"]) for group in groups)
        self._groups = [(group, float(group["lr"]) / largest if largest else 1.0) for group in groups]
        self._name = name
        engine.add_event_handler(Events.ITERATION_STARTED, self._raise_rate)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._take_loss)

    def _raise_rate(self, engine: Engine) -> None:
        done = (engine.state.iteration - 1) // self._accumulate
        share = done / (self._steps - 1)
        self._rate = self._lowest * (self._highest / self._lowest) ** share
        for group, part in self._groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(self._rate * part)
            else:
                group["lr"] = self._rate * part

    def _take_loss(self, engine: Engine) -> None:
        """Notes the loss of a step, and ends the run where that was enough.

        Raises:
            NonFiniteError: the first loss is not finite.
            StepError: the optimizer had none.
        """
        state, test = engine.state, self.test
        if state.iteration % self._accumulate:
            return
        points = state.recorder.flush(state.iteration, state.epoch)
        loss = points.get(f"train/loss/{self._name}", points.get("train/loss"))
        if loss is not None and isfinite(loss):
            test.add(self._rate, loss)
        elif loss is not None and not test.rates:
            raise NonFiniteError(
                f"The loss of the first step is {loss}, at the rate {self._rate:.3g}: there is none to compare with. Look at the "
                "batch for NaN and infinite inputs, and at logarithms and divisions."
            )
        if test.has_diverged or not isfinite(loss or 0.0):
            test.reason = f"The loss diverged at the rate {self._rate:.3g}."
        elif state.iteration == self._steps * self._accumulate:
            test.reason = f"highest={self._highest:g} was reached."
            if not test.rates:
                raise StepError(
                    f"training_step yielded no loss of the optimizer {self._name!r} in {self._steps} steps, so nothing was "
                    "measured. Give more steps, or another optimizer."
                )
        if test.reason:
            engine.interrupt()  # and not terminate(), after which the hooks of a good end run


def _train(
    module: TrainModule, backend: Backend, train: Iterable[Any] | None, settings: FitSettings, ramp: _Ramp, name: str | None
) -> None:
    group, seed = group_of(backend), torch.initial_seed() if settings.seed is None else settings.seed
    if group is not None:
        seed = group.from_main("seed", seed)
    assembled = assemble(module, backend, train, {}, settings, seed, scheduled=False)
    if group is not None:
        seed_apart(seed, group)
    engine, run = assembled.engine, assembled.run
    with ExitStack() as stack:
        for source in assembled.sources:
            stack.callback(source.close)
        stack.enter_context(logging_to(module, run.recorder))
        stack.callback(fire_closed, engine)
        note_place(engine, lambda engine: f"In find_lr: {doing(engine)}{batch_of(engine)}.")
        engine.add_event_handler(Events.EPOCH_STARTED, run.begin_epoch)
        engine.add_event_handler(Events.EPOCH_COMPLETED, run.stop_without_data)  # which comes to it for want of data alone
        register_hooks(engine, module)
        ramp.attach(engine, assembled.optimizers, name)
        stack.enter_context(named_if_empty("train_data", train, run.data))
        engine.run(run.data, max_epochs=1, epoch_length=run.epoch_length)
        raise_taken(engine)
    ramp.test.reason = ramp.test.reason or engine.terminate_reason or "The run was ended by a hook."


def _check_rates(lowest: Any, highest: Any) -> None:
    for name, rate in (("lowest", lowest), ("highest", highest)):
        if isinstance(rate, bool) or not isinstance(rate, Real) or not 0 < float(rate) < inf:
            raise SettingError(f"{name}={rate!r}: {name} should be a learning rate, a number above 0.")
    if lowest >= highest:
        raise SettingError(f"lowest={lowest:g} and highest={highest:g}: the rate rises, so lowest should be below highest.")
