"""What things are called in a drawing, and what is said of a handler."""

from __future__ import annotations

import inspect
import json
import keyword
import re
from collections.abc import Callable
from functools import partial
from typing import Any

from framework.engine.events import Events
from framework.module.step_events import StepEvents

_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_EVENT = re.compile(rf"^(?:{'|'.join(event.name for event in (*Events, *StepEvents))})\b[:,]?\s*")
_TAKEN = {
    *("batch", "batches", "clip_grad_norm_", "clip_grad_value_", "closure", "count", "engine", "epoch", "epoch_start", "evaluator"),
    *("exception", "index", "islice", "iteration", "iter", "loss", "losses", "metrics", "model", "name", "next", "optimizer"),
    *("optimizers", "output", "range", "recorder", "scaler", "scheduler", "size", "torch", "train_data", "val_data", "validate"),
}


def snake(name: str) -> str:
    """Returns the name of a class as one of a variable."""
    return re.sub(r"\W", "", _WORD.sub("_", name).lower().strip("_")) or "handler"


def quoted(text: str) -> str:
    """Returns a text as Python has it, in double quotes."""
    return json.dumps(text, ensure_ascii=False)


class Names:
    """Gives each object a name of its own.

    Example:
        >>> from framework.module.drawing.names import Names
        >>> class EarlyStopping: ...
        >>> names, first, second = Names(), EarlyStopping(), EarlyStopping()
        >>> names.of(first), names.of(second), names.of(first)
        ('early_stopping', 'early_stopping_2', 'early_stopping')
    """

    def __init__(self) -> None:
        self._names: dict[int, str] = {}
        self._kept: list[Any] = []  # an id is that of one object as long as it lives

    def give(self, thing: Any, name: str) -> None:
        """Calls a thing by this name."""
        self._names[id(thing)] = name
        self._kept.append(thing)

    def of(self, thing: Any) -> str:
        """Returns the name of a thing: by default that of its class."""
        if id(thing) not in self._names:
            self.give(thing, self.free(snake(type(thing).__name__)))
        return self._names[id(thing)]

    def free(self, name: str) -> str:
        """Returns the name, or where something else has it, the name with a number."""
        used = {*_TAKEN, *self._names.values()}
        number, free = 1, name
        while free in used or keyword.iskeyword(free):
            number += 1
            free = f"{name}_{number}"
        return free

    def of_handler(self, handler: Callable[..., Any]) -> str:
        """Returns what a handler is called by: `owner.method`, or the name of a function."""
        if isinstance(handler, partial):
            return self.of_handler(handler.func)
        owner, name = getattr(handler, "__self__", None), getattr(handler, "__name__", "")
        if owner is not None and name:
            return f"{self.of(owner)}.{_attribute(owner, handler, name)}"
        return name if name.isidentifier() else self.of(handler)


def _attribute(owner: Any, method: Any, name: str) -> str:
    """Returns the name under which the owner has a method; that of its function may be another."""
    function = getattr(method, "__func__", method)
    names = [name, *(each for cls in type(owner).__mro__ for each in vars(cls))]
    return next((each for each in names if inspect.getattr_static(type(owner), each, None) is function), name)


def remark_on(handler: Callable[..., Any]) -> str:
    """Returns what a handler does, or where it stands: the first line of its docstring; of a user's also class and line."""
    function = inspect.unwrap(getattr(handler, "func", handler))
    function = getattr(function, "__func__", function)
    documentation = (getattr(function, "__doc__", None) or "").strip().split("\n")[0].rstrip(".")
    documentation = _EVENT.sub("", documentation)  # which the place in the drawing says
    if str(getattr(function, "__module__", "")).split(".")[0] == "framework":
        return documentation
    where = place_of(function)
    return ": ".join(part for part in (where, documentation) if part)


def place_of(function: Any) -> str:
    """Returns where a function stands: "Digits, line 40"."""
    function = getattr(function, "__func__", function)
    code = getattr(function, "__code__", None)
    if code is None:
        return ""
    path: list[str] = str(getattr(function, "__qualname__", "")).split(".")
    owner = path[-2] if len(path) > 1 else ""
    return f"{owner}, line {code.co_firstlineno}" if owner and owner != "<locals>" else f"line {code.co_firstlineno}"
