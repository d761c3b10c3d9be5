"""The arguments that a module was made with, as far as they are plain values: what `load` makes it with again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from inspect import BoundArguments, Parameter, Signature, signature
from types import MethodType
from typing import Any

_PLAIN = (type(None), bool, int, float, str)
_DEEPEST = 20
"""Containers inside each other, for a plain value."""
_LARGEST = 1 << 16
"""Bytes of all values together: they are written with each checkpoint."""


def record_arguments(cls: type, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the constructor arguments by name, those left out with their defaults, and the names of those that are not kept.

    Returns:
        {"values": by name, "others": names of arguments that are not plain, or too large}
    """
    constructor = _constructor_of(cls)
    try:
        bound = constructor.bind_partial(*args, **kwargs)  # a copy is made without arguments, and gets its own later
    except TypeError:
        return {"values": {}, "others": []}  # __init__ is called next, and says what it takes
    bound.apply_defaults()
    values: dict[str, Any] = {}
    others: list[str] = []
    left = _LARGEST
    for name, value in bound.arguments.items():
        kind = constructor.parameters[name].kind
        for key, item in (value if kind is Parameter.VAR_KEYWORD else {name: value}).items():
            if not _is_plain(item, _DEEPEST) or (size := len(json.dumps(item))) > left:
                others.append(key)
                continue
            left -= size
            values[key] = deepcopy(item)
    return {"values": values, "others": others}


def make_again(cls: type, values: Mapping[str, Any]) -> Any:
    """Returns an object made with arguments by name, as `record_arguments` returns them.

    Raises:
        TypeError: an argument is missing, or unknown.
    """
    constructor = _constructor_of(cls)
    own = [name for name, each in constructor.parameters.items() if each.kind is not Parameter.VAR_KEYWORD]
    named = {name: values[name] for name in own if name in values}
    rest = {name: value for name, value in values.items() if name not in named}
    bound = BoundArguments(constructor, named)
    return cls(*bound.args, **bound.kwargs, **rest)


def _constructor_of(cls: type) -> Signature:
    """Returns what a class is called with, without self."""
    return signature(MethodType(cls.__init__, cls))  # type: ignore[misc]


def _is_plain(value: Any, deepest: int) -> bool:
    if type(value) in (list, tuple):
        return deepest > 0 and all(_is_plain(item, deepest - 1) for item in value)
    if type(value) is dict:
        return deepest > 0 and all(type(key) is str and _is_plain(item, deepest - 1) for key, item in value.items())
    return type(value) in _PLAIN
