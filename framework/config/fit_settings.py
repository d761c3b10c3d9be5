"""The section `fit`: its settings, checked as `fit` itself checks them, all of them at once."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from framework.backends.base import Backend
from framework.config.component import Component, Reading, read_component
from framework.config.events import read_event
from framework.config.places import Path
from framework.config.structure import LISTS
from framework.distributed.strategy import Strategy
from framework.errors import ConfigError, FrameworkError, SettingError
from framework.module.checks.unknown_settings import SETTINGS, remedy
from framework.module.settings import FitSettings
from framework.module.train_module import TrainModule

DEFAULTS = {
    name: parameter.default for name, parameter in inspect.signature(TrainModule.fit).parameters.items() if name in SETTINGS
}
_EVENTS = ("validate_every", "save_every")
_CLASSES: dict[str, type] = {"accelerator": Backend, "strategy": Strategy}
"""Settings that are a name, or a class with arguments."""
_NAMES = {"accelerator": "cpu", "strategy": "ddp"}
_HARMLESS: dict[str, Any] = {"max_epochs": 1, "max_iters": 1, "max_time_s": 1, "run_dir": "runs", "monitor": "val/loss"}
"""What stands in for a setting that is wrong, so that others that need it are looked at by themselves."""


@dataclass(frozen=True, slots=True)
class FitSection:
    """The settings, with what has to be made for them.

    Attributes:
        values: the settings that are given, as they are but for what is made.
    """

    values: dict[str, Any]
    _lists: dict[str, list[Component]]
    _objects: dict[str, Component]
    _reading: Reading

    def make(self) -> dict[str, Any]:
        """Returns the keyword arguments of `fit`, with handlers, loggers, backend and strategy made.

        Raises:
            ConfigError: one of the framework's refuses its arguments, or the settings do not go together.
            BaseException: what the user's own code raises.
        """
        made = dict(self.values)
        for name, components in self._lists.items():
            made[name] = [self._make(each) for each in components]
        made |= {name: self._make(component) for name, component in self._objects.items()}
        error = _refusal({**DEFAULTS, **made})
        if error is not None:
            self._reading.mistakes.say(_path_of(str(error), made), f"fit.{error}")
        self._reading.mistakes.raise_any()
        return made

    def _make(self, component: Component) -> Any:
        try:
            return component.make()
        except FrameworkError as error:
            if not component.found.__module__.startswith("framework."):
                raise
            raise ConfigError(f"{self._reading.mistakes.tree.place(component.path)}: {component.name}: {error}") from error

    def plain(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Returns all settings as plain values, in the order in which `fit` has them."""
        plain = {
            name: given.get(name, list(default) if isinstance(default, tuple) else default) for name, default in DEFAULTS.items()
        }
        plain |= {name: [each.plain() for each in components] for name, components in self._lists.items()}
        return plain | {name: component.plain() for name, component in self._objects.items()}


def read_fit(given: dict[str, Any], module_class: type[TrainModule] | None, reading: Reading) -> FitSection:
    """Reads the settings; mistakes are noted.

    Args:
        given: the section.
        module_class: of the model, None where that is a mistake.
        reading: what is known.
    """
    mistakes = reading.mistakes
    values: dict[str, Any] = {}
    unknown = [name for name in given if name not in DEFAULTS]
    lists: dict[str, list[Component]] = {}
    objects: dict[str, Component] = {}
    for name, value in given.items():
        path = ("fit", name)
        if name not in DEFAULTS:
            mistakes.add(path, f"is unknown. {remedy(name, SETTINGS, 'fit')}")
        elif name in LISTS:
            components = [read_component((*path, index), reading) for index in range(len(value or ()))]
            lists[name] = [each for each in components if each is not None]
        elif name in _CLASSES and isinstance(value, dict):
            component = _read_object(value, path, reading)
            if component is not None:
                objects[name] = component
        elif name in _EVENTS:
            event = read_event(value, path, module_class, mistakes)
            if event is not None or value is None:
                values[name] = event
        else:
            values[name] = tuple(value) if name == "allow_changes" and isinstance(value, list) else value
    _check(values, reading, misspelt=bool(unknown))
    return FitSection(values, lists, objects, reading)


def _read_object(value: dict[str, Any], path: Path, reading: Reading) -> Component | None:
    name = str(path[-1])
    if "class_path" not in value:
        reading.mistakes.add(path, f"should be a name such as {_NAMES[name]}, or a mapping of class_path and init_args.")
        return None
    return read_component(path, reading, _CLASSES[name])


def _check(values: dict[str, Any], reading: Reading, *, misspelt: bool) -> None:
    """Notes each setting that `fit` refuses; a value from the command line that only its text fits becomes that text.

    Args:
        values: of the settings.
        reading: takes what is wrong.
        misspelt: whether there are names that are no settings; one of them may be the end that a run needs.
    """
    tried = {**({"max_epochs": 1} if misspelt else {}), **values}
    told: set[str] = set()
    while (error := _refusal({**DEFAULTS, **tried})) is not None:
        path = _path_of(str(error), tried)
        name = str(path[-1])
        text = reading.mistakes.tree.place(path).text if len(path) > 1 else None
        if text is not None and not isinstance(values[name], str) and _fits({**tried, name: text}, name):
            tried[name] = values[name] = reading.mistakes.tree.values["fit"][name] = text
            continue
        if name not in told:
            reading.mistakes.say(path, f"fit.{error}" if len(path) > 1 else str(error))
        if len(path) == 1:
            return
        tried[name] = DEFAULTS[name] if name in told else _HARMLESS.get(name, DEFAULTS[name])
        told.add(name)


def _refusal(settings: Mapping[str, Any]) -> SettingError | None:
    try:
        FitSettings(**settings)
    except SettingError as error:
        return error
    return None


def _fits(values: Mapping[str, Any], name: str) -> bool:
    """Tells whether settings are fine, or refused for something else than the one of this name."""
    error = _refusal({**DEFAULTS, **values})
    return error is None or _path_of(str(error), values)[-1] != name


def _path_of(message: str, given: Mapping[str, Any]) -> Path:
    """Returns the path of the setting that a message begins with, or that of the section."""
    name = re.match(r"\w+", message)
    return ("fit", name[0]) if name is not None and name[0] in given else ("fit",)
