"""What the command line changes of a configuration: `--fit.max_epochs 3`, `--model.hidden=64`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from framework.config.places import Path, Place, Tree
from framework.config.yaml_file import parse_value, scalar
from framework.errors import ConfigError

SECTIONS = ("model", "data", "fit")
SPEC = ("class_path", "init_args")
_YAML = ("[", "{", '"', "'")


def apply_overrides(tree: Tree, overrides: Sequence[str]) -> None:
    """Sets the values that the command line gives; later ones win.

    `--model.hidden` is short for `--model.init_args.hidden`, also in what is nested, and in data.

    Raises:
        ConfigError: an argument that is none of a configuration, or has no value; all of them together.

    Example:
        >>> from framework.config.overrides import apply_overrides
        >>> from framework.config.places import Tree
        >>> tree = Tree({"model": {"class_path": "module.Digits"}})
        >>> apply_overrides(tree, ["--model.lr", "1e-3", "--fit.max_epochs=3"])
        >>> tree.values
        {'model': {'class_path': 'module.Digits', 'init_args': {'lr': 0.001}}, 'fit': {'max_epochs': 3}}
    """
    mistakes: list[str] = []
    for name, text in _pairs(overrides, mistakes):
        try:
            _apply(tree, name, text)
        except ConfigError as error:
            mistakes.append(str(error))
    if mistakes:
        raise ConfigError("\n".join(mistakes))


def _pairs(overrides: Sequence[str], mistakes: list[str]) -> Iterator[tuple[str, str]]:
    """Yields names and texts: of `--name=text`, and of `--name text`."""
    arguments = iter(overrides)
    waiting: str | None = None
    for argument in arguments:
        if argument.startswith("--"):
            if waiting is not None:
                mistakes.append(_without_value(waiting))
            name, equals, text = argument.partition("=")
            waiting = None if equals else name
            if equals:
                yield name, text
        elif waiting is not None:
            yield waiting, argument
            waiting = None
        else:
            mistakes.append(f"{argument}: a value without a name. What changes a setting is written --fit.max_epochs 3.")
    if waiting is not None:
        mistakes.append(_without_value(waiting))


def _without_value(name: str) -> str:
    return f"{name}: the value is missing. Write {name} VALUE, or {name}=VALUE; a flag takes true or false."


def _apply(tree: Tree, name: str, text: str) -> None:
    keys = name.removeprefix("--").split(".")
    if keys[0] not in SECTIONS or not all(keys):
        raise ConfigError(f"{name} is unknown. Settings begin with --model., --data. or --fit., such as --fit.max_epochs 3.")
    value = _value(text, name)
    place = Place(name, None, text)
    path = _long_form(tree, tuple(keys), name) if keys[0] != "fit" else tuple(keys)
    into: Any = tree.values
    for depth, key in enumerate(path[:-1], 1):
        held = into.get(key)
        if held is None:
            tree.put(into, path[:depth], {}, {path[:depth]: Place(name)})
        elif isinstance(held, str) and path[depth] in SPEC:  # a class by its name alone
            into[key] = {"class_path": held}
        elif not isinstance(held, dict):
            kind = "a list, which is given whole" if isinstance(held, list) else f"{held!r}, which has no parts"
            raise ConfigError(f"{name}: {'.'.join(path[:depth])} is {kind}, such as --{'.'.join(path[:depth])} VALUE.")
        into = into[key]
    tree.put(into, path, value, {path: place})


def _value(text: str, name: str) -> Any:
    """Returns what a text means: in brackets, braces or quotes it is YAML; else one value, in which `#` and `*` mean nothing."""
    if text.lstrip().startswith(_YAML):
        try:
            return parse_value(text, name)
        except ConfigError as error:
            raise ConfigError(f"{error} A text that begins like this is put in quotes of its own: {name} '\"TEXT\"'.") from error
    value = scalar(text.strip())
    return text if isinstance(value, str) else value


def _long_form(tree: Tree, keys: tuple[str, ...], name: str) -> tuple[str, ...]:
    """Returns the keys with `init_args` wherever a class follows that has parameters."""
    long: list[str] = [keys[0]]
    for key in keys[1:]:
        if long[-1] == "init_args" or key in SPEC:
            long.append(key)
            continue
        held = tree.at(_path(long))
        if len(long) == 1 or (isinstance(held, dict) and "class_path" in held):
            long.append("init_args")
        long.append(key)
    return tuple(long)


def _path(keys: Sequence[str]) -> Path:
    return tuple(keys)
