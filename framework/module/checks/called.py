"""Whether a class calls one of its methods itself, which then is a helper of its own."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from types import CodeType
from typing import Any


def is_called(cls: type, name: str) -> bool:
    """Tells whether another method of a class, or of its bases, names the attribute `name`.

    Args:
        cls: the class.
        name: of one of its methods; what stands in that method itself, such as `super().name()`, does not count.

    Example:
        >>> from framework.module.checks.called import is_called
        >>> class Alternating:
        ...     def odd_step(self): ...
        ...     def even_step(self): ...
        ...     def training_step(self): return self.odd_step()
        >>> is_called(Alternating, "odd_step"), is_called(Alternating, "even_step")
        (True, False)
    """
    methods = (value for base in cls.__mro__ for other, value in vars(base).items() if other != name)
    return any(name in code.co_names for method in methods for code in _codes_of(method))


def _codes_of(method: Any) -> Iterator[CodeType]:
    """Yields the code of a method, and of the functions inside it."""
    function = method.fget if isinstance(method, property) else getattr(method, "__func__", method)
    waiting = [getattr(inspect.unwrap(function), "__code__", None)] if callable(function) else []
    while waiting:
        code = waiting.pop()
        if isinstance(code, CodeType):
            yield code
            waiting.extend(code.co_consts)
