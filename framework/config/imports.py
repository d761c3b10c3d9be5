"""Imports what a configuration names, once it is trusted."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from framework.config.places import Mistakes, Path as Keys, Place, nearest
from framework.config.trust import Trust

MISSING = object()


def find_named(name: str, path: Keys, trust: Trust, mistakes: Mistakes) -> Any:
    """Returns what a trusted name leads to; a mistake is noted, and `MISSING` returned.

    Args:
        name: such as `module.Digits`, or a public name of the framework. `trust` has let it pass.
        path: where it stands in the configuration.
        trust: looks at what it leads to as well.
        mistakes: takes what is wrong.

    Raises:
        BaseException: whatever the user's module raises when it is imported, with a note.

    Example:
        >>> from pathlib import Path
        >>> from framework.config.imports import find_named
        >>> from framework.config.places import Mistakes, Tree
        >>> from framework.config.trust import Trust
        >>> find_named("EMA", ("fit", "handlers", 0), Trust(Path(".")), Mistakes(Tree()))
        <class 'framework.handlers.ema.EMA'>
    """
    *parts, last = name.split(".")
    home = ".".join(parts) or "framework"
    if home.split(".")[0] in trust.modules and not _is_the_projects(home, path, trust, mistakes):
        return MISSING
    with asked_for_by(mistakes.tree.place(path), name):
        module = _import(home)
    if module is None:
        mistakes.add(path, f"names {name}, but there is no module {home}.{_nearest_module(home)}")
        return MISSING
    found = getattr(module, last, MISSING)
    if found is MISSING:
        mistakes.add(path, f"names {name}, but {home} has no {last}.{_nearest_in(module, last)}")
        return MISSING
    refusal = trust.refusal_of(name, found)
    if refusal is not None:
        mistakes.add(path, refusal)
        return MISSING
    return found


@contextmanager
def asked_for_by(place: Place, what: str) -> Iterator[None]:
    """Lets errors of the user's own code through as they are, with a note of what in the configuration has asked for it."""
    try:
        yield
    except BaseException as error:
        note = f"{place} asks for {what}."
        if note not in getattr(error, "__notes__", ()):
            error.add_note(note)
        raise


def put_first(project: Path) -> None:
    """Puts the folder of the user's modules first in the search path, where it stays: worker processes need it."""
    folder = str(project)
    if sys.path[:1] != [folder]:
        sys.path.insert(0, folder)
    importlib.invalidate_caches()


def _is_the_projects(home: str, path: Keys, trust: Trust, mistakes: Mistakes) -> bool:
    """Tells whether a module of the project's is what an import gives: another of its name may have been imported before."""
    root = home.split(".")[0]
    known = sys.modules.get(root)
    if known is None:
        return True
    homes = [known.__file__] if getattr(known, "__file__", None) else list(getattr(known, "__path__", ()))
    if any(Path(each).resolve().is_relative_to(trust.project) for each in homes if each is not None):
        return True
    mistakes.add(
        path,
        f"names {home}, but a module {root} from {homes[0] if homes else 'elsewhere'} is imported already, not that of "
        f"{trust.project}. Rename yours.",
    )
    return False


def _import(home: str) -> ModuleType | None:
    """Returns a module, None where there is none of this name; its own errors are raised."""
    try:
        return importlib.import_module(home)
    except ModuleNotFoundError as error:
        if error.name is not None and (home == error.name or home.startswith(f"{error.name}.")):
            return None
        raise


def _nearest_module(home: str) -> str:
    parent, _, last = home.rpartition(".")
    spec = find_spec(parent) if parent in sys.modules else None
    folders = [Path(each) for each in spec.submodule_search_locations or ()] if spec is not None else []
    names = sorted(
        {each.stem for folder in folders for each in folder.glob("*.py") if each.stem.isidentifier() and each.stem != "__init__"}
    )
    return nearest(last, names) if names else ""


def _nearest_in(module: ModuleType, name: str) -> str:
    """Returns a question for the nearest class or function of a module, or those that it defines itself."""
    public = [each for each, value in vars(module).items() if not each.startswith("_") and callable(value)]
    near = nearest(name, public)
    own = sorted(each for each in public if getattr(vars(module)[each], "__module__", None) == module.__name__)
    return near if near.endswith("?") else nearest(name, own)
