"""What stands before the loop: the module, its optimizers, its schedules, the data."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from os import PathLike
from typing import Any

from torch import nn
from torch.optim import Optimizer

from framework.backends.ownership import parameters_of
from framework.data.map_style import MapStyle
from framework.engine.events import EventEnum
from framework.module.drawing.names import quoted, snake
from framework.module.drawing.page import Page
from framework.module.drawing.subject import Subject
from framework.module.drawing.verbs import Verbs

_PLAIN = (type(None), bool, int, float, str)
_SHOWN = 40  # characters of a value


def draw_setup(page: Page, subject: Subject) -> None:
    """Writes what is made before the loop begins."""
    module, settings = subject.module, subject.settings
    name = type(module).__name__
    page.remark(f"{name}.fit({_arguments(subject)}) runs:")
    if settings.seed is not None:
        page.line(f"seed_all({settings.seed})")
    if settings.deterministic:
        page.line("torch.use_deterministic_algorithms(True)")
    page.line(f"model = {name}({_plain(module._hparams['values'])})", _about(module, subject))
    if subject.backend.device.type != "cpu":
        page.line(f'model.to("{subject.backend.device}")')
    _draw_optimizers(page, subject)
    Verbs(page, subject.backend, several=subject.has_several).setup()
    _draw_schedulers(page, subject)
    if settings.compile_options is not None:
        options = "".join(f", {name}={value!r}" for name, value in settings.compile_options.items())
        page.line(f"training_step = torch.compile(model.training_step{options})")
        if subject.run.evaluations:
            page.line(f"evaluation_step = torch.compile(model.evaluation_step{options})")
    if isinstance(subject.source, MapStyle):
        seeding = ', seeding="sample"' if settings.data_order == "sample" else ""
        page.line(
            f"train_data = ordered(train_data, seed{seeding})",
            f"data_order={quoted(settings.data_order)}: it follows from seed and epoch",
        )
    if settings.hang_timeout_s is not None:
        page.remark(f"hang_timeout_s={settings.hang_timeout_s:g}: a step or a wait for a batch that takes longer ends the process.")


def _arguments(subject: Subject) -> str:
    given = ["train_data" if subject.train is not None else "None", *(["val_data"] if subject.val else [])]
    shown = {name: f"[{', '.join(map(subject.names.of, value))}]" for name, value in subject.given.items() if name == "handlers"}
    given += [f"{name}={shown.get(name) or _short(value)}" for name, value in subject.given.items()]
    return ", ".join(given)


def _short(value: Any) -> str:
    text = repr(str(value) if isinstance(value, PathLike) else value)
    known = type(value) in _PLAIN or isinstance(value, PathLike | EventEnum)
    return text if known and len(text) <= _SHOWN else "..."


def _plain(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={_short(value)}" for name, value in values.items())


def _about(module: nn.Module, subject: Subject) -> str:
    parameters = list(module.parameters())
    known = [parameter for parameter in parameters if not nn.parameter.is_lazy(parameter)]
    total, frozen = (sum(map(nn.Parameter.numel, each)) for each in (known, [each for each in known if not each.requires_grad]))
    about = [f"{total:,} parameters" + (f", {frozen:,} of them frozen" if frozen else "")]
    if len(known) < len(parameters):
        about.append(f"and {len(parameters) - len(known)} tensors of a size that the first batch tells")
    return ", ".join([*about, f"on {subject.backend.device} in {subject.backend.precision}"])


# Optimizers and schedules


def _draw_optimizers(page: Page, subject: Subject) -> None:
    optimizers, name = subject.optimizers, type(subject.module).__name__
    if subject.has_several:
        with page.block("optimizers = {"):
            for key, optimizer in optimizers.items():
                call, comment = _constructor(optimizer, subject.module)
                page.line(f"{quoted(key)}: {call or f'model.configure_optimizers()[{quoted(key)}]'},", comment)
        page.line("}")
        return
    ((key, optimizer),) = optimizers.items()
    call, comment = _constructor(optimizer, subject.module)
    page.line(f"optimizer = {call or 'model.configure_optimizers()'}", comment or f"{name}.configure_optimizers")


def _constructor(optimizer: Optimizer, module: nn.Module) -> tuple[str | None, str]:
    """Returns how the optimizer would be made by hand, None where that takes more than a line; and what it is."""
    kind, held = type(optimizer), list(parameters_of([optimizer]))
    options = ", ".join(f"{name}={value!r}" for name, value in _options(optimizer).items())
    owner = _owner_of(held, module)
    if owner is None or len(optimizer.param_groups) > 1:
        groups = f"{len(optimizer.param_groups)} groups, " if len(optimizer.param_groups) > 1 else ""
        size = sum(each.numel() for each in held if not nn.parameter.is_lazy(each))
        return None, f"{kind.__name__}({options}): {groups}{size:,} parameters"
    return f"{kind.__name__}({owner}.parameters(){', ' if options else ''}{options})", ""


def _options(optimizer: Optimizer) -> dict[str, Any]:
    """Returns the learning rate, and what else is not as the class has it by default."""
    known = inspect.signature(type(optimizer).__init__).parameters
    return {
        name: value
        for name, value in optimizer.defaults.items()
        if name in known and (name == "lr" or repr(value) != repr(known[name].default))
    }


def _owner_of(held: list[nn.Parameter], module: nn.Module) -> str | None:
    """Returns the part of the module that has exactly these parameters, as an expression."""
    ids = [id(parameter) for parameter in held]
    for name, part in module.named_modules():
        if ids == [id(parameter) for parameter in part.parameters()]:
            steps = name.split(".") if name else []
            return "model" + "".join(f"[{step}]" if step.isdigit() else f".{step}" for step in steps)
    return None


def _draw_schedulers(page: Page, subject: Subject) -> None:
    schedules, names = subject.schedules, subject.names
    made = [(scheduler, owner) for owner, scheduler in (*schedules.by_step, *schedules.by_epoch)]
    made += [(scheduler, "") for scheduler, _ in schedules.monitored]
    for scheduler, _ in made:
        names.give(scheduler, "scheduler" if len(made) == 1 else names.free(_kind(scheduler)))
    for scheduler, _ in made:
        owner = next(name for name, optimizer in subject.optimizers.items() if scheduler.optimizer is optimizer)
        optimizer = "optimizer" if not subject.has_several else f"optimizers[{quoted(owner)}]"
        page.line(f"{names.of(scheduler)} = {type(scheduler).__name__}({optimizer}, ...)", _configured(subject))


def _kind(scheduler: Any) -> str:
    return snake(type(scheduler).__name__)


def _configured(subject: Subject) -> str:
    return f"{type(subject.module).__name__}.configure_schedulers"
