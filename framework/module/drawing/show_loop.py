"""`show_loop`: puts a run together as `fit` does, and draws it instead of running it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from copy import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from framework.backends.base import Backend
from framework.backends.ownership import refuse_foreign
from framework.backends.selector import select_backend
from framework.metrics.direction import direction
from framework.module.assembly import Assembled, assemble
from framework.module.checks.at_begin import check_module, check_train_data, check_val_data
from framework.module.checks.unknown_settings import refuse_unknown
from framework.module.drawing.loop import LoopDrawing
from framework.module.drawing.names import Names
from framework.module.drawing.subject import Subject
from framework.module.registration import register
from framework.module.resuming.run_folder import RunFolder
from framework.module.resuming.saver import Saver
from framework.module.resuming.snapshot import Snapshots
from framework.module.run import Run
from framework.module.settings import FitSettings
from framework.module.stopping.boundary import Boundary
from framework.module.stopping.signals import StopSignals
from framework.module.trial.put_back import PutBack
from framework.seeding import RandomStream

if TYPE_CHECKING:
    from framework.module.train_module import TrainModule

_NOWHERE = torch.device("meta")
"""No tensor that could be changed here: their values are not copied, since nothing trains."""


def draw_loop(module: TrainModule, train_data: Any, val_data: Any = None, **given: Any) -> str:
    """Returns the loop that `fit` runs with these arguments; see `TrainModule.show_loop`."""
    settings = settings_of(module, given)
    check_module(module, settings)
    train = check_train_data(train_data, settings)
    val = check_val_data(module, val_data, settings)
    backend = select_backend(settings.accelerator, settings.precision)
    seed = torch.initial_seed() if settings.seed is None else settings.seed
    with ExitStack() as stack:
        stack.enter_context(RandomStream(seed))
        kept = PutBack(_NOWHERE)
        kept.remember(module)
        stack.callback(kept.put_back)
        module._backend = paper = stack.enter_context(_on_paper(backend, module, kept))  # put back with the rest
        assembled = assemble(module, paper, train, val, settings, seed)
        stack.callback(_untie, assembled.run)
        for each in assembled.sources:
            stack.callback(each.close)
        saver = _register(module, paper, assembled, settings, seed)
        names = Names()
        names.give(module, "model")
        subject = Subject(
            module=module,
            settings=settings,
            given=given,
            backend=backend,
            engine=assembled.engine,
            run=assembled.run,
            optimizers=assembled.optimizers,
            schedules=assembled.schedules,
            source=assembled.source,
            saver=saver,
            train=train,
            val=val,
            names=names,
        )
        return LoopDrawing(subject).draw()


def settings_of(module: TrainModule, given: Mapping[str, Any]) -> FitSettings:
    """Returns the settings of `fit`: those given, and its defaults.

    Raises:
        SettingError: there is no such setting, or not with such a value.
    """
    parameters = inspect.signature(type(module).fit).parameters.values()
    defaults = {each.name: each.default for each in parameters if each.kind is inspect.Parameter.KEYWORD_ONLY}
    unknown = [name for name in given if name not in defaults]
    if unknown:
        refuse_unknown(unknown, tuple(defaults), "show_loop")
    return FitSettings(**{**defaults, **given})


@contextmanager
def _on_paper(backend: Backend, module: TrainModule, kept: PutBack) -> Iterator[Backend]:
    """Yields a copy of a backend that moves nothing and takes nothing over; optimizers are afterwards as they were."""
    rates: list[tuple[Tensor, Tensor]] = []

    def adopt(model: nn.Module, optimizers: Mapping[str, Optimizer], replaced: object = None) -> None:
        refuse_foreign(model, optimizers, module.device)
        for optimizer in optimizers.values():
            kept.remember(optimizer)  # schedules are about to change its learning rate
            values = [value for group in optimizer.param_groups for value in group.values() if isinstance(value, Tensor)]
            rates.extend((value, value.clone()) for value in values)

    paper: Any = copy(backend)
    paper.device = module.device
    paper.place, paper.adopt, paper.feed = lambda model: {}, adopt, lambda data: data
    try:
        yield paper
    finally:
        for value, before in rates:
            value.copy_(before)


def _register(module: TrainModule, backend: Backend, assembled: Assembled, settings: FitSettings, seed: int) -> Saver | None:
    """Registers every handler of the run; no folder is touched."""
    engine, run, saver = assembled.engine, assembled.run, None
    if settings.monitor is not None:
        direction(settings.monitor, settings.mode, engine.state.directions)  # unknown, it is an error in fit
    if settings.run_dir is not None:
        snapshots = Snapshots(
            module, backend, assembled.optimizers, assembled.schedules, run, assembled.source, settings.handlers, seed
        )
        saver = Saver(RunFolder(settings.run_dir, settings.keep), snapshots, run, settings, {}, {})
    register(engine, run, module, settings, saver, Boundary(run, StopSignals(), saver, settings), None, assembled.length)
    return saver


def _untie(run: Run) -> None:
    """Lets go of what holds each other, so that all of it is freed at once."""
    run.on_validate = None
    run.evaluations = ()
