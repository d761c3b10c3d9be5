"""What a hook is: a method `on_<event>`, or one that carries `@on(...)`. Found and checked here, registered here."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from framework.engine.dispatch import KEYWORD_PAYLOAD, each_event
from framework.engine.engine import Engine
from framework.engine.events import EventEnum, EventLike, Events, EventsList
from framework.engine.signature import accepts
from framework.errors import ModuleError
from framework.module.checks.declarations import check_plain
from framework.module.checks.foreign_hooks import FOREIGN_HOOKS
from framework.module.step_events import StepEvents, register_step_events

F = TypeVar("F", bound=Callable[..., Any])

PREFIX = "on_"
EVALUATION_PREFIX = "on_evaluation_"
_HOOK_ENDINGS = ("_start", "_started", "_end", "_ended", "_begin", "_complete", "_completed")
_BUILT_IN = frozenset((*Events, *StepEvents))
_NEAR = 0.82  # similarity above which a name is taken for a misspelt hook


def on(*events: EventLike) -> Callable[[F], F]:
    """Makes a method of a module or a handler object, of any name, a handler of `events`.

    Args:
        *events: events, filtered events or lists of them.

    Example:
        >>> from framework import Events, TrainModule, on
        >>> class Module(TrainModule):
        ...     @on(Events.ITERATION_COMPLETED(every=100))
        ...     def tell(self, engine):
        ...         print(engine.state.iteration)
    """
    if not events or not all(isinstance(event, str | EventsList) or hasattr(event, "name") for event in events):
        raise TypeError(f"@on needs the event, as in @on(Events.EPOCH_COMPLETED(every=2)); got {events}")

    def mark(method: F) -> F:
        if isinstance(method, staticmethod | classmethod | property):
            raise ModuleError(
                f"@on marks a plain method, got a {type(method).__name__}. Write def name(self) or def name(self, engine)."
            )
        method._events = (*getattr(method, "_events", ()), *events)  # type: ignore[attr-defined]
        return method

    return mark


def not_a_hook(method: F) -> F:
    """Marks a method as one that the user calls: a likeness to the name of a hook, or of a step, is then no mistake.

    Example:
        >>> from framework import TrainModule, not_a_hook
        >>> class Module(TrainModule):
        ...     @not_a_hook
        ...     def on_epoch_end(self):
        ...         pass
    """
    method._not_a_hook = True  # type: ignore[attr-defined]
    return method


def known_hooks(own_events: Iterable[Any] = ()) -> dict[str, Any]:
    """Returns the event of each hook name that starts with `on_`, evaluation hooks apart.

    Args:
        own_events: custom events, members of an `EventEnum` or texts.
    """
    return {f"{PREFIX}{getattr(event, 'value', event)}": event for event in (*Events, *StepEvents, *own_events)}


def check_hooks(cls: type, names: Iterable[str], more_events: Iterable[Any] = ()) -> None:
    """Refuses methods that look like hooks and are none, and hooks whose signature no event fits.

    Args:
        cls: the class whose hooks are checked; its `events` are the custom events it brings.
        names: the names of the attributes to check.
        more_events: custom events that others bring.

    Raises:
        ModuleError: with the right name, or the right signature, in the message.
    """
    hooks = known_hooks((*own_events(cls), *more_events))
    for name in names:
        method = inspect.getattr_static(cls, name)
        marked = hasattr(_function_in(method), "_events")
        if hasattr(method, "_not_a_hook") or not (marked or name.startswith(PREFIX)):
            continue
        event = _event_of(name, hooks)
        if not inspect.isfunction(method):
            if marked or event is not None:
                raise ModuleError(
                    f"{cls.__name__}.{name} is a {type(method).__name__}; it would never run as a hook. "
                    f"Declare it as a method: def {name}(self) or def {name}(self, engine)."
                )
            continue
        if marked or event is not None:
            check_plain(cls, name, method)
            _check_self(cls, name, method, event)
        if event is not None and marked:
            raise ModuleError(
                f"{cls.__name__}.{name} is a hook by its name and by @on(...), so it would run twice. Give it another name, or "
                "leave @on out."
            )
        if event is not None:
            _check_signature(cls, name, method, event)
        elif not marked:
            _refuse_misspelt(cls, name, hooks)


def check_assigned_hooks(target: Any) -> None:
    """Refuses functions that were assigned to the names of hooks in an object: hooks are methods of a class.

    Raises:
        ModuleError: it would never run.
    """
    cls = type(target)
    hooks = known_hooks(own_events(cls))
    for name, value in getattr(target, "__dict__", {}).items():
        if name.startswith(PREFIX) and callable(value) and _event_of(name, hooks) is not None and not hasattr(cls, name):
            raise ModuleError(
                f"{cls.__name__} assigns self.{name}; it would never run as a hook. Declare it as a method of the class: "
                f"def {name}(self) or def {name}(self, engine)."
            )


def register_events_of(engine: Engine, target: Any) -> None:
    """Registers the custom events that a module or a handler object brings, and the `StepEvents`, on an engine."""
    register_step_events(engine)
    engine.register_events(*own_events(type(target)))


def register_hooks(engine: Engine, target: Any, *, evaluation: bool = False) -> int:
    """Registers the hooks of a module or a handler object on an engine: the one way in for both.

    Args:
        engine: the training engine, or the evaluation engine.
        target: any object; its hooks run in the order in which its classes define them. Its `events`, a tuple of `EventEnum`
            classes, are registered on the engine as well, and so are the `StepEvents`; they fire where someone fires them. Custom
            events that the engine knows already have hooks too.
        evaluation: register `on_evaluation_<event>` instead of `on_<event>`.

    Returns:
        How many hooks the object has, for either kind of engine.
    """
    register_events_of(engine, target)
    hooks = known_hooks(event for event in engine._table if event not in _BUILT_IN)
    found = 0
    for name, method in _methods(target):
        marked = getattr(method, "_events", ())
        if not evaluation:
            for event in marked:
                _refuse_unknown(engine, type(target), name, event)
                engine.add_event_handler(event, method)
        found += len(marked)
        if hasattr(method, "_not_a_hook"):
            continue
        event = _event_of(name, hooks)
        if event is not None:
            found += 1
            if name.startswith(EVALUATION_PREFIX) == evaluation:
                engine.add_event_handler(event, method)
    return found


def _function_in(method: Any) -> Any:
    """Returns the function of a plain, static or class method or of a property, None for anything else."""
    if isinstance(method, property):
        return method.fget
    return method.__func__ if isinstance(method, staticmethod | classmethod) else method if inspect.isfunction(method) else None


def own_events(cls: type) -> tuple[EventEnum, ...]:
    """Returns the custom events that a class brings: the members of those of its `events` that are such."""
    declared: Any = inspect.getattr_static(cls, "events", ())
    if not isinstance(declared, tuple | list):
        return ()  # a property or a method of that name is the user's own
    kinds = (events for events in declared if isinstance(events, type) and issubclass(events, EventEnum))
    return tuple(event for events in kinds for event in events)


def _methods(target: Any) -> Iterator[tuple[str, Any]]:
    """Yields the methods of an object, base classes first, each name once."""
    names: dict[str, None] = {}
    for cls in reversed(type(target).__mro__):
        names.update(dict.fromkeys(vars(cls)))
    for name in names:
        if inspect.isfunction(inspect.getattr_static(type(target), name, None)):
            yield name, getattr(target, name)


def _event_of(name: str, hooks: dict[str, Any]) -> Any:
    if name.startswith(EVALUATION_PREFIX):
        event = hooks.get(PREFIX + name.removeprefix(EVALUATION_PREFIX))
        return event if isinstance(event, Events) else None
    return hooks.get(name)


def _check_self(cls: type, name: str, method: Any, event: Any) -> None:
    if next(iter(inspect.signature(method).parameters), "") in ("engine", *getattr(event, "payload", ())):
        raise ModuleError(
            f"{cls.__name__}.{name}{inspect.signature(method)} lacks self. Declare it as {name}(self) or {name}(self, engine)."
        )


def _check_signature(cls: type, name: str, method: Any, event: Any) -> None:
    payload: tuple[str, ...] = getattr(event, "payload", ())
    by_name = dict.fromkeys(KEYWORD_PAYLOAD.get(event, ()))
    calls: list[tuple[tuple[str, ...], dict[str, Any]]] = [
        (lead, named)
        for lead in (("self",), ("self", "engine"), ("self", *payload), ("self", "engine", *payload))
        for named in ({}, by_name)
    ]
    if not any(accepts(method, lead, named) for lead, named in calls):
        extra = "".join(f", {argument}" for argument in (*payload, *by_name))
        raise ModuleError(
            f"{cls.__name__}.{name}{inspect.signature(method)} cannot be called as a hook. "
            f"Declare it as {name}(self{extra}) or {name}(self, engine{extra})."
        )


def _refuse_unknown(engine: Engine, cls: type, name: str, marked: Any) -> None:
    for event in each_event(marked):
        if not engine.has_registered_events(event):
            kind = type(event).__name__ if isinstance(event, EventEnum) else "MyEvents"
            whose = "" if isinstance(event, EventEnum) else ", with it as a member of MyEvents(EventEnum)"
            raise ModuleError(
                f"{cls.__name__}.{name} is marked with @on({event!r}), an event that nobody in this run brings. Known are "
                f"{', '.join(engine._table)}. An event of your own is named in the class: events = ({kind},){whose}."
            )


def _refuse_misspelt(cls: type, name: str, hooks: dict[str, Any]) -> None:
    right = FOREIGN_HOOKS.get(name)
    if right is None:
        every = [*hooks, *(f"{EVALUATION_PREFIX}{event.value}" for event in Events)]
        near = difflib.get_close_matches(name, every, n=1, cutoff=_NEAR)
        if not near and not name.endswith(_HOOK_ENDINGS):
            return
        right = (near or difflib.get_close_matches(name, every, n=1, cutoff=0.0))[0]
    raise ModuleError(
        f"{cls.__name__}.{name} is no hook. Did you mean {right}? "
        "The hooks are on_<event> for the events of framework.Events and framework.StepEvents, and on_evaluation_<event>. "
        "Mark a method that is meant to be something else with @not_a_hook."
    )
