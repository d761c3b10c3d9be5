"""Types in the words of a message."""

from __future__ import annotations

import difflib
import enum
import inspect
import re
import types
from collections.abc import Callable
from typing import Any, Literal, Union, get_args, get_origin

_WORDS: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    type(None): "null",
    list: "a list",
    tuple: "a list",
    set: "a list",
    dict: "a mapping",
}


def wanted(hint: Any) -> str:
    """Returns what a type takes, in words.

    Example:
        >>> from framework.config.wanted import wanted
        >>> wanted(int | None), wanted(list[float])
        ('a whole number or null', 'a list of numbers')
    """
    origin, inside = get_origin(hint), get_args(hint)
    if hint is Any:
        return "anything"
    if hint in _WORDS:
        return _WORDS[hint]
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(wanted(each) for each in inside))
    if origin is Literal:
        return _choice([repr(each) for each in inside])
    if inspect.isclass(hint) and issubclass(hint, enum.Enum):
        return _choice([each.name for each in hint])
    if Callable in (hint, origin):
        made = inside[-1] if inside and inspect.isclass(inside[-1]) and inside[-1] not in (Any, *_WORDS) else None
        return f"the name of a function, or of a {made.__name__} class" if made else "the name of a function"
    if origin is type:
        return f"the name of a {getattr(inside[0], '__name__', inside[0])} class"
    if inspect.isclass(origin) and inside:
        return _container(origin, inside) or _name(hint)
    return f"a {hint.__name__}" if inspect.isclass(hint) else _name(hint)


def nearest_of(hint: Any, value: Any) -> str:
    """Returns a question for the nearest of the texts that a type takes, with a space before; nothing where none is near."""
    near = difflib.get_close_matches(value, _texts(hint), n=1) if isinstance(value, str) else []
    return f" Did you mean {near[0]}?" if near else ""


def _texts(hint: Any) -> list[str]:
    if get_origin(hint) is Literal:
        return [each for each in get_args(hint) if isinstance(each, str)]
    if inspect.isclass(hint) and issubclass(hint, enum.Enum):
        return [each.name for each in hint]
    return [text for each in get_args(hint) for text in _texts(each)]


def _container(origin: type, inside: tuple[Any, ...]) -> str:
    several = [each for each in inside if each is not Ellipsis]
    if issubclass(origin, dict):
        return f"a mapping to {_plural(wanted(several[-1]))}"
    if issubclass(origin, tuple) and Ellipsis not in inside:
        return f"a list of {len(inside)}: {', '.join(map(wanted, inside))}"
    return f"a list of {_plural(wanted(several[0]))}" if issubclass(origin, list | tuple | set | frozenset) else ""


def _plural(words: str) -> str:
    return f"{words.removeprefix('a ')}s" if re.fullmatch(r"a [\w ]+", words) else words


def _choice(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"one of {', '.join(names)}"


def _name(hint: Any) -> str:
    return re.sub(r"\b(?:typing|collections\.abc|builtins)\.", "", str(hint))
