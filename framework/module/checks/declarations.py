"""What the class of a TrainModule may declare, checked when it is made: verbs, steps, configure_ methods, their signatures."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable
from typing import Any

from framework.engine.signature import accepts, signature_of
from framework.errors import ModuleError
from framework.module.checks.called import is_called
from framework.module.checks.foreign_declarations import FOREIGN_DECLARATIONS
from framework.module.checks.shadowing import check_shadowing

_STEP = (("batch",), ("batch", "engine"))
_FORMS: dict[str, tuple[tuple[str, ...], ...]] = {
    "training_step": _STEP,
    "evaluation_step": _STEP,
    "prediction_step": _STEP,
    "configure_optimizers": ((),),
    "configure_schedulers": (("optimizers",), ("optimizers", "total_steps")),
    "configure_metrics": ((),),
    "configure_sharding": ((),),
}
"""The arguments that a declaration may take after self."""

_WRAPPERS = (staticmethod, classmethod, property)


def check_declarations(cls: type, names: Iterable[str]) -> None:
    """Refuses what hides something of ours, a name that is nearly a declaration's, and a declaration that cannot be called.

    Args:
        cls: a subclass of TrainModule.
        names: the names of the attributes to check.

    Raises:
        ModuleError: with the right name, or the right signature, in the message.
    """
    for name in names:
        declared = inspect.getattr_static(cls, name)
        if name in _FORMS:
            _check_form(cls, name, declared)
            continue
        check_shadowing(cls, name, declared)
        if (callable(declared) or isinstance(declared, staticmethod | classmethod)) and not hasattr(declared, "_not_a_hook"):
            _check_name(cls, name)


def takes_engine(step: Callable[..., Any]) -> Callable[[Any, Any], Any]:
    """Returns a step, bound to its module, as a function of (batch, engine), whether or not it was declared with the engine."""
    names = list(signature_of(step).parameters)
    return step if len(names) > 1 and _is_engine(names[1]) else lambda batch, engine: step(batch)


def _check_form(cls: type, name: str, declared: Any) -> None:
    forms = _FORMS[name]
    right = " or ".join(f"{name}({', '.join(('self', *form))})" for form in forms)
    if not inspect.isfunction(declared):
        came = f" = {declared!r}" if type(declared) not in _WRAPPERS else f" is a {type(declared).__name__}, which"
        raise _uncallable(cls, name, came, right, forms)
    check_plain(cls, name, declared, may_yield=name == "training_step")
    if not any(accepts(declared, ("self", *form), {}) for form in forms):
        raise _uncallable(cls, name, str(inspect.signature(declared)), right, forms)
    parameters = list(inspect.signature(declared).parameters.values())
    if parameters[0].name in {argument for form in forms for argument in form}:
        raise ModuleError(f"{cls.__name__}.{name}{inspect.signature(declared)} lacks self. Declare it as {right}.")
    if forms is _STEP and len(parameters) > 2 and not (_is_engine(parameters[2].name) or accepts(declared, ("self", "batch"), {})):
        raise _uncallable(cls, name, str(inspect.signature(declared)), right, forms)


def check_plain(cls: type, name: str, function: Any, *, may_yield: bool = False) -> None:
    """Refuses a function whose call would only make a coroutine or a generator, and run nothing.

    Args:
        cls: its class, for the message.
        name: its name.
        function: a plain function.
        may_yield: generators are allowed.

    Raises:
        ModuleError: it is such a function.
    """
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise ModuleError(
            f"{cls.__name__}.{name} is an async def; nobody would await it, so it would never run. Write a plain def."
        )
    if inspect.isgeneratorfunction(function) and not may_yield:
        raise ModuleError(f"{cls.__name__}.{name} contains a yield; calling it would run nothing. Write it without yield.")


def _uncallable(cls: type, name: str, came: str, right: str, forms: Any) -> ModuleError:
    index = " The number of the batch is engine.state.iteration." if forms is _STEP else ""
    return ModuleError(f"{cls.__name__}.{name}{came} cannot be called. Declare it as {right}.{index}")


def _is_engine(parameter: str) -> bool:
    return parameter.strip("_") in ("engine", "")


def _check_name(cls: type, name: str) -> None:
    remedy = FOREIGN_DECLARATIONS.get(name)
    if remedy is None and not name.startswith("on_") and (name.endswith("_step") or name.startswith("configure_")):
        ours = [known for known in _FORMS if known.endswith("_step") == name.endswith("_step")]
        near = difflib.get_close_matches(name, ours, n=1, cutoff=0.75)
        remedy = f"Did you mean {near[0]}?" if near else None
    if remedy is not None and not is_called(cls, name):
        raise ModuleError(
            f"{cls.__name__}.{name} would never be called. {remedy} Mark a method that you call yourself with @not_a_hook."
        )
