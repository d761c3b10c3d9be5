"""A class or function that a configuration names, with its arguments: checked now, called later."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from framework.config.imports import MISSING, asked_for_by, find_named
from framework.config.overrides import SPEC
from framework.config.places import Mistakes, Path, dotted, nearest
from framework.config.signature import Signature, Unfit, specs_in
from framework.config.trust import Trust


@dataclass(slots=True)
class Reading:
    """What is known while a configuration is read.

    Attributes:
        trust: decides what may be named.
        mistakes: those found so far; it has the values and their places.
        allowed: names that jsonargparse may import, and what lies under them.
    """

    trust: Trust
    mistakes: Mistakes
    allowed: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.allowed.update((*self.trust.modules, *self.trust.trusted))

    def find(self, name: str, path: Path) -> Any:
        """Returns what a name leads to, `MISSING` with a mistake; the name may then be imported."""
        found = find_named(name, path, self.trust, self.mistakes)
        if found is not MISSING:
            self.allow(name, found)
        return found

    def allow(self, name: str, found: Any) -> None:
        """Lets jsonargparse import a name; it asks where what the name leads to is defined, too."""
        self.allowed.add(full_name(name))
        if inspect.isclass(found):
            self.allowed.add(f"{found.__module__}.{found.__qualname__}")


@dataclass(frozen=True, slots=True)
class Component:
    """A class or function with arguments that fit it.

    Attributes:
        found: the class or function.
        name: as the configuration names it.
        path: where it stands there.
    """

    found: Callable[..., Any]
    name: str
    path: Path
    _signature: Signature
    _arguments: dict[str, Any]
    _reading: Reading

    def make(self) -> Any:
        """Calls it.

        Raises:
            BaseException: what the user's own code raises, with a note of the line that asked for it.
        """
        with asked_for_by(self._reading.mistakes.tree.place(self.path), self.name):
            return self._signature.call(_with_full_names(self._arguments))

    def plain(self) -> dict[str, Any]:
        """Returns the class and all its arguments as plain values, with the defaults that can be written."""
        defaults = {name: self._signature.default(name) for name in self._signature.names}
        known = {name: self._arguments.get(name, default) for name, default in defaults.items()}
        arguments = {name: value for name, value in {**known, **self._arguments}.items() if value is not inspect.Parameter.empty}
        return {"class_path": self.name, **({"init_args": arguments} if arguments else {})}


def read_component(path: Path, reading: Reading, base: type | None = None) -> Component | None:
    """Reads the class or function at a path with its arguments; mistakes are noted, and None returned.

    Args:
        path: of a mapping with `class_path` and `init_args`, or of a name alone.
        reading: what is known.
        base: what the class has to inherit from, None for no matter.
    """
    before = len(reading.mistakes.found)
    spec = reading.mistakes.tree.at(path)
    name = spec if isinstance(spec, str) else spec["class_path"]
    at = path if isinstance(spec, str) else (*path, "class_path")
    given = {} if isinstance(spec, str) else spec.get("init_args") or {}
    found = reading.find(name, at)
    if found is MISSING:
        return None
    if base is not None and not (inspect.isclass(found) and issubclass(found, base)):
        reading.mistakes.add(at, f"names {name}, which is no {base.__name__}. Inherit from framework.{base.__name__}.")
        return None
    signature = _signature_of(found, name, at, reading)
    arguments = check_arguments(signature, given, (*path, "init_args"), name, reading)
    _check_required(signature, given, at, (*path, "init_args"), name, reading)
    if len(reading.mistakes.found) > before:
        return None
    return Component(found, name, path, signature, arguments, reading)


def check_arguments(signature: Signature, given: dict[str, Any], path: Path, name: str, reading: Reading) -> dict[str, Any]:
    """Returns the arguments that fit; notes those that do not.

    Args:
        signature: of what takes them.
        given: values by name.
        path: where they stand.
        name: of what takes them.
        reading: what is known.
    """
    fit = {}
    for key, value in given.items():
        here = (*path, key)
        before = len(reading.mistakes.found)
        if key in signature.names:
            value = _check_argument(signature, key, value, here, reading)
        elif not signature.open:
            takes = nearest(key, signature.names) if signature.names else f" {name} takes no arguments."
            reading.mistakes.add(
                here, f"is unknown.{takes.replace(' There are', f' {name} takes').replace(' There is', f' {name} takes')}"
            )
        if len(reading.mistakes.found) == before:
            fit[key] = value
    return fit


def _check_required(signature: Signature, given: dict[str, Any], at: Path, path: Path, name: str, reading: Reading) -> None:
    if any(key not in signature.names for key in given):
        return  # one of these may be what is missing
    for missing in signature.required:
        if missing not in given:
            reading.mistakes.say(at, f"{name} needs {missing}, which is missing. Give {dotted((*path, missing))}.")


def _check_argument(signature: Signature, key: str, value: Any, path: Path, reading: Reading) -> Any:
    before = len(reading.mistakes.found)
    structure = signature.structure(key)
    nested = list(specs_in(value))
    for inside, spec in nested:
        _check_nested(spec, (*path, *inside), reading)
    if not nested and structure is not None and isinstance(value, dict):
        fields = _signature_of(structure, structure.__name__, path, reading)
        check_arguments(fields, value, path, structure.__name__, reading)
        _check_required(fields, value, path, path, structure.__name__, reading)
    _allow_texts(value, path, reading)
    if len(reading.mistakes.found) > before:
        return value
    if nested and signature.takes_anything(key, value):
        what = nested[0][1]["class_path"]
        reading.mistakes.add(path, f"names {what}, but {key} has no type that says so. Annotate it, such as {key}: nn.Module.")
        return value
    return _fitted(signature, key, value, path, reading)


def _fitted(signature: Signature, key: str, value: Any, path: Path, reading: Reading) -> Any:
    """Returns a value that fits, as it stands or as the text that was written on the command line; notes one that does not."""
    text = reading.mistakes.tree.place(path).text if path in reading.mistakes.tree.places else None
    full = _with_full_names(value)
    try:
        signature.fitted(key, full)
    except Unfit as unfit:
        if text is not None and not isinstance(value, str) and _takes(signature, key, text):
            return text
        _note_unfit(unfit, value, path, reading)
    return value


def _takes(signature: Signature, key: str, value: Any) -> bool:
    try:
        signature.fitted(key, value)
    except Unfit:
        return False
    return True


def _note_unfit(unfit: Unfit, value: Any, path: Path, reading: Reading) -> None:
    if unfit.denied:
        why = reading.trust.refusal(unfit.denied) or f"names {unfit.denied}, which may not be used here."
        reading.mistakes.add(path, why)
    elif unfit.lacking:
        inside, spec = next(specs_in(value), ((), {"class_path": dotted(path)}))
        reading.mistakes.say(
            (*path, *inside), f"{spec['class_path']} needs {unfit.lacking}. Give {dotted((*path, *inside, 'init_args'))}."
        )
    else:
        reading.mistakes.add(path, str(unfit))


def _check_nested(spec: dict[str, Any], path: Path, reading: Reading) -> None:
    """Checks what is given of a class inside an argument; what it needs besides, the type of the argument decides."""
    name = spec["class_path"]
    found = reading.find(name, (*path, "class_path"))
    if found is not MISSING:
        signature = _signature_of(found, name, path, reading)
        check_arguments(signature, spec.get("init_args") or {}, (*path, "init_args"), name, reading)


def _signature_of(found: Callable[..., Any], name: str, path: Path, reading: Reading) -> Signature:
    with asked_for_by(reading.mistakes.tree.place(path), name):
        return Signature(found, reading.allowed)


def _allow_texts(value: Any, path: Path, reading: Reading) -> None:
    """Lets texts name classes of torch or of the framework, for parameters that take a type: these are there anyway."""
    for text in _texts_in(value):
        parts = text.split(".")
        if len(parts) > 1 and not reading.trust.is_users(text) and reading.trust.refusal(text) is None:
            quiet = Mistakes(reading.mistakes.tree)
            found = find_named(text, path, reading.trust, quiet)
            if found is not MISSING:
                reading.allow(text, found)


def _texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _texts_in(each)


def full_name(name: str) -> str:
    """Returns the name of a class with its module: a public name of the framework stands alone in a configuration."""
    return name if "." in name else f"framework.{name}"


def _with_full_names(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_full_names(each) for each in value]
    if isinstance(value, dict):
        full = {key: _with_full_names(each) for key, each in value.items()}
        if isinstance(full.get(SPEC[0]), str):
            full[SPEC[0]] = full_name(full[SPEC[0]])
        return full
    return value
