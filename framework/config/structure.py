"""What can be told of a configuration before anything is imported: its form, and the names in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from framework.config.overrides import SECTIONS, SPEC
from framework.config.places import Mistakes, Path, dotted, nearest, shown
from framework.config.trust import Trust

LISTS = ("handlers", "loggers")
_MEANT = {
    "datamodule": "data",
    "dataset": "data",
    "seed_everything": "fit.seed",
    "settings": "fit",
    "train": "fit",
    "trainer": "fit",
}


def check_structure(values: Mapping[str, Any], trust: Trust, mistakes: Mistakes) -> None:
    """Notes sections that are unknown or missing, classes that are written wrongly, and names that may not be imported.

    Example:
        >>> from pathlib import Path
        >>> from framework.config.places import Mistakes, Tree
        >>> from framework.config.structure import check_structure
        >>> from framework.config.trust import Trust
        >>> mistakes = Mistakes(Tree())
        >>> check_structure({"model": "os.system"}, Trust(Path(".")), mistakes)
        >>> print(mistakes.found[-1])
        the configuration: model names os.system, of Python's standard library, which a configuration may not call.
    """
    for key in values:
        if key not in SECTIONS:
            meant = f" Did you mean {_MEANT[key.lower()]}?" if key.lower() in _MEANT else nearest(key, SECTIONS)
            mistakes.add((key,), f"is unknown.{meant}")
    for section in ("model", "data"):
        _check_class(values.get(section), (section,), mistakes)
    _check_fit(values.get("fit"), mistakes)
    _check_names({key: values[key] for key in SECTIONS if key in values}, (), trust, mistakes)


def _check_class(value: Any, path: Path, mistakes: Mistakes) -> None:
    if value is None:
        what = "a TrainModule of yours: module.Net" if path == ("model",) else "a function of yours that returns batches: data.load"
        mistakes.add(path, f"is missing. Give {dotted(path)}.class_path, {what}.")
    elif isinstance(value, dict) and "class_path" not in value:
        mistakes.add((*path, "class_path"), "is missing. It says what is made: module.Class.")
        _check_spec(value, path, mistakes)
    elif not isinstance(value, dict | str):
        mistakes.add(path, f"should be a mapping of class_path and init_args, got {shown(value)}.")


def _check_fit(value: Any, mistakes: Mistakes) -> None:
    if value is None:
        mistakes.add(("fit",), "is missing. Give its settings, with an end, such as fit.max_epochs: 3.")
        return
    if not isinstance(value, dict):
        mistakes.add(("fit",), f"should be a mapping of settings, such as max_epochs: 3, got {shown(value)}.")
        return
    for name in LISTS:
        held = value.get(name)
        if held is None:
            continue
        if not isinstance(held, list):
            mistakes.add(("fit", name), f"should be a list, got {shown(held)}. Put a dash before each of its items.")
            continue
        for index, each in enumerate(held):
            if not isinstance(each, str) and not (isinstance(each, dict) and "class_path" in each):
                mistakes.add(("fit", name, index), f"should be a class_path with init_args, or a name, got {shown(each)}.")


def _check_names(value: Any, path: Path, trust: Trust, mistakes: Mistakes) -> None:
    """Looks at every name of a class, wherever it stands."""
    named = path in (("model",), ("data",)) or (len(path) == 3 and path[:1] == ("fit",) and path[1] in LISTS)
    if isinstance(value, str) and named:
        _check_name(value, path, path, trust, mistakes)
    elif isinstance(value, list):
        for index, each in enumerate(value):
            _check_names(each, (*path, index), trust, mistakes)
    elif isinstance(value, dict):
        if "class_path" in value:
            _check_spec(value, path, mistakes)
            _check_name(value["class_path"], (*path, "class_path"), path, trust, mistakes)
        for key, each in value.items():
            _check_names(each, (*path, key), trust, mistakes)


def _check_name(name: Any, path: Path, of: Path, trust: Trust, mistakes: Mistakes) -> None:
    if not isinstance(name, str):
        mistakes.add(path, f"should be the name of a class, such as module.Class, got {shown(name)}.")
        return
    refusal = trust.refusal(name)
    if refusal is None and of == ("data",) and not trust.is_users(name):
        refusal = f"names {name}. Data come from a function or class of your own project, such as data.load."
    if refusal is None and of == ("model",) and not trust.is_users(name) and "." in name.removeprefix("framework."):
        refusal = f"names {name}. A model is a TrainModule of your own project, such as module.Net."
    if refusal is not None:
        mistakes.add(path, refusal)


def _check_spec(spec: Mapping[str, Any], path: Path, mistakes: Mistakes) -> None:
    for key in spec:
        if key not in SPEC:
            right = dotted((*path, "init_args", key))
            mistakes.add((*path, key), f"is unknown. Beside class_path there is init_args; an argument of the class is {right}.")
    arguments = spec.get("init_args")
    if arguments is not None and not isinstance(arguments, dict):
        mistakes.add((*path, "init_args"), f"should be a mapping from names to values, got {shown(arguments)}.")
