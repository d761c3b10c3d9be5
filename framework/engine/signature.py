"""Checks, once and early, that a callable can be called the way it will be called."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def describe(function: Callable[..., Any]) -> str:
    """Returns a readable name of a callable: its qualified name, else its repr."""
    return getattr(function, "__qualname__", None) or repr(function)


def signature_of(function: Callable[..., Any]) -> inspect.Signature:
    """Returns the signature, seen through `functools.wraps` and bound methods.

    Raises:
        ValueError: `function` is a builtin that tells nothing about its parameters.
    """
    try:
        return inspect.signature(function)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"Error adding {describe(function)!r}: its parameters cannot be read ({error}). Wrap it in a function or a lambda."
        ) from error


def accepts(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Tells whether `function(*args, **kwargs)` is a legal call; calls nothing."""
    try:
        signature_of(function).bind(*args, **kwargs)
    except TypeError:
        return False
    return True


def require(function: Callable[..., Any], *args: Any, role: str) -> None:
    """Refuses a `function` that cannot be called with the positional arguments `args`.

    Raises:
        ValueError: the call would fail.
    """
    if not accepts(function, args, {}):
        raise mismatch(function, args, {}, role)


def mismatch(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], role: str) -> ValueError:
    """Builds the error for a callable that does not fit its calls: what it takes, what it will be given."""
    takes = list(signature_of(function).parameters)
    gives = [*(str(arg) for arg in args), *(f"{name}={value!r}" for name, value in kwargs.items())]
    return ValueError(
        f"Error adding {describe(function)!r} as {role}: takes parameters {takes} but will be called with [{', '.join(gives)}]."
    )


def first_positional(function: Callable[..., Any]) -> inspect.Parameter | None:
    """Returns the first positional parameter of `function`, or None if it has none."""
    parameters = list(signature_of(function).parameters.values())
    return parameters[0] if parameters and parameters[0].kind in _POSITIONAL else None
