"""Values with the place each of them came from, and the mistakes found in them."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from framework.errors import ConfigError

Path = tuple[str | int, ...]
"""Where a value stands in a configuration: `("fit", "handlers", 0)`."""

_CLASSES = (("model",), ("data",))


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value was written.

    Attributes:
        source: the name of a file, or an argument of the command line.
        line: of the file, from 1; None for the command line.
        text: what was written, on the command line.
    """

    source: str
    line: int | None = None
    text: str | None = None

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}, line {self.line}"


@dataclass(slots=True)
class Tree:
    """A configuration as it was read: mappings, lists, texts, numbers, booleans and None, with their places.

    Example:
        >>> from framework.config.places import Place, Tree
        >>> tree = Tree({"fit": {"seed": 1}}, {(): Place("a.yaml", 1), ("fit", "seed"): Place("a.yaml", 2)})
        >>> tree.merge(Tree({"fit": {"seed": 3}}, {("fit", "seed"): Place("b.yaml", 1)}))
        >>> tree.values, str(tree.place(("fit", "seed")))
        ({'fit': {'seed': 3}}, 'b.yaml, line 1')
    """

    values: dict[str, Any] = field(default_factory=dict)
    places: dict[Path, Place] = field(default_factory=dict)

    def merge(self, later: Tree) -> None:
        """Takes the values of a later configuration, key by key; whatever is no mapping is replaced."""
        self.places.setdefault((), later.place(()))
        self._merge(self.values, later, later.values, ())

    def _merge(self, into: dict[str, Any], later: Tree, values: Mapping[str, Any], path: Path) -> None:
        for key, value in values.items():
            here = (*path, key)
            if here in _CLASSES and isinstance(into.get(key), str) and isinstance(value, dict):
                self.put(into, here, {"class_path": into[key]}, {here: self.place(here)})  # what the name alone is short for
            if isinstance(value, dict) and isinstance(into.get(key), dict):
                self._merge(into[key], later, value, here)
            else:
                self.put(into, here, value, {each: at for each, at in later.places.items() if each[: len(here)] == here})

    def put(self, into: dict[str, Any], path: Path, value: Any, places: Mapping[Path, Place]) -> None:
        """Sets a value of the mapping that holds it, and the places of all that is in it."""
        for known in [each for each in self.places if each[: len(path)] == path]:
            del self.places[known]
        into[str(path[-1])] = value
        self.places.update(places)

    def at(self, path: Path) -> Any:
        """Returns the value at a path, None where there is none."""
        value: Any = self.values
        for key in path:
            if isinstance(key, int):
                value = value[key] if isinstance(value, list) and key < len(value) else None
            else:
                value = value.get(key) if isinstance(value, dict) else None
        return value

    def place(self, path: Path) -> Place:
        """Returns the place of the value at a path, or of the nearest one around it."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, Place("the configuration"))


class Mistakes:
    """Mistakes in a configuration, to be told together.

    Example:
        >>> from framework.config.places import Mistakes, Place, Tree
        >>> mistakes = Mistakes(Tree({}, {("fit", "max_epoch"): Place("a.yaml", 3)}))
        >>> mistakes.add(("fit", "max_epoch"), "is unknown.")
        >>> mistakes.found
        ['a.yaml, line 3: fit.max_epoch is unknown.']
    """

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self._noted: dict[str, Place] = {}

    @property
    def found(self) -> list[str]:
        """What was noted, in the order of the lines of each file."""
        sources = list(dict.fromkeys(place.source for place in self._noted.values()))
        return sorted(self._noted, key=lambda line: (sources.index(self._noted[line].source), self._noted[line].line or 0))

    def add(self, path: Path, message: str) -> None:
        """Notes a mistake: what `message` says of the value at `path`, whose name it begins with."""
        self.say(path, f"{dotted(path)} {message}")

    def say(self, path: Path, sentence: str) -> None:
        """Notes a mistake by a whole sentence."""
        place = self.tree.place(path)
        self._noted.setdefault(f"{place}: {sentence}", place)

    def raise_any(self) -> None:
        """Raises what was found, a line each.

        Raises:
            ConfigError: something was.
        """
        if self._noted:
            raise ConfigError("\n".join(self.found))


def dotted(path: Path) -> str:
    """Returns the name of a path, such as `fit.handlers[0].init_args.decay`."""
    name = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path)
    return name.removeprefix(".") or "the configuration"


def nearest(name: str, known: Collection[str]) -> str:
    """Returns a question for the nearest known name, or the names themselves, with a space before."""
    by_lower = {each.lower(): each for each in known}
    near = difflib.get_close_matches(name.lower(), by_lower, n=1)
    if near:
        return f" Did you mean {by_lower[near[0]]}?"
    return f" There {'is' if len(known) == 1 else 'are'} {', '.join(known)}." if known else " There is none."


def shown(value: Any) -> str:
    """Returns a value for a message, a long one shortened."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
