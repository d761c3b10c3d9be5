"""What the class of a TrainModule may declare, checked when it is made: verbs, steps, configure_ methods, their signatures."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable
from typing import Any

from framework.engine.signature import accepts, signature_of
from framework.errors import ModuleError

_VERBS = ("fit", "evaluate", "predict", "predict_batches", "log", "load_weights", "export")
_STEP = (("batch",), ("batch", "engine"))
_FORMS: dict[str, tuple[tuple[str, ...], ...]] = {
    "training_step": _STEP,
    "evaluation_step": _STEP,
    "prediction_step": _STEP,
    "configure_optimizers": ((),),
    "configure_schedulers": (("optimizers",), ("optimizers", "total_steps")),
    "configure_metrics": ((),),
}
"""The arguments that a declaration may take after self."""

_FOREIGN_NAMES = {
    "validation_step": "evaluation_step",
    "test_step": "evaluation_step",
    "predict_step": "prediction_step",
    "configure_lr_schedulers": "configure_schedulers",
}


def check_declarations(cls: type, names: Iterable[str]) -> None:
    """Refuses a redefined verb, a name that is nearly a declaration's, and a declaration that cannot be called.

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
        elif callable(declared):
            _check_name(cls, name)


def takes_engine(step: Callable[..., Any]) -> Callable[[Any, Any], Any]:
    """Returns a step, bound to its module, as a function of (batch, engine), whether or not it was declared with the engine."""
    names = list(signature_of(step).parameters)
    return step if len(names) > 1 and _is_engine(names[1]) else lambda batch, engine: step(batch)


def _check_form(cls: type, name: str, declared: Any) -> None:
    forms = _FORMS[name]
    if inspect.isfunction(declared) and any(accepts(declared, ("self", *form), {}) for form in forms):
        parameters = list(inspect.signature(declared).parameters.values())
        if forms is not _STEP or len(parameters) < 3 or _is_engine(parameters[2].name) or accepts(declared, ("self", "batch"), {}):
            return
    came = f"{inspect.signature(declared)}" if inspect.isfunction(declared) else f" = {declared!r}"
    right = " or ".join(f"{name}({', '.join(('self', *form))})" for form in forms)
    index = " The number of the batch is engine.state.iteration." if forms is _STEP else ""
    raise ModuleError(f"{cls.__name__}.{name}{came} cannot be called. Declare it as {right}.{index}")


def _is_engine(parameter: str) -> bool:
    return parameter.strip("_") in ("engine", "")


def _check_name(cls: type, name: str) -> None:
    if name in _VERBS:
        raise ModuleError(
            f"{cls.__name__} redefines {name}, which TrainModule provides. Give the method another name; "
            "to change what fit does use the steps, the configure_ methods and hooks."
        )
    ours = [known for known in _FORMS if known.endswith("_step") == name.endswith("_step")]
    if name.endswith("_step") or name.startswith("configure_"):
        right = _FOREIGN_NAMES.get(name) or next(iter(difflib.get_close_matches(name, ours, n=1, cutoff=0.75)), None)
        if right is not None:
            raise ModuleError(f"{cls.__name__}.{name} would never be called. Did you mean {right}?")
