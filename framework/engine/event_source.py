"""Registering handlers on events and firing them: the half of an engine that knows nothing of runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from framework.engine.dispatch import EventTable, RemovableEventHandle, Slot, each_event, wrong_payload
from framework.engine.events import CallableEventWithFilter, EventEnum, EventLike
from framework.engine.state import State

F = TypeVar("F", bound=Callable[..., Any])
_NOTHING: dict[str, Any] = {}


class EventSource:
    """Fires events at which registered handlers run.

    Attributes:
        state: holds the counters that filters look at.
        last_event_name: the event fired last, None before any.
    """

    def __init__(self) -> None:
        self.state = State()
        self.last_event_name: str | None = None
        self._table = EventTable()

    def register_events(
        self,
        *event_names: str | EventEnum,
        event_to_attr: Mapping[Any, str] | None = None,
        event_payload: Mapping[Any, tuple[str, ...]] | None = None,
    ) -> None:
        """Makes custom events known to this engine.

        Args:
            *event_names: names, or members of an `EventEnum`.
            event_to_attr: by event, the attribute of `state` that counts it. Created as 0; the user increments it. Without one,
                filters count the firings of the event.
            event_payload: by event, the names of the arguments that `fire_event(event, ...)` hands to handlers after the engine.

        An `EventEnum` may say both itself.

        Raises:
            TypeError: a name that is neither a str nor an EventEnum.
            ValueError: `event_to_attr` is no mapping.

        Example:
            >>> from framework.engine import Engine
            >>> engine = Engine(lambda engine, batch: engine.fire_event("seen", batch))
            >>> engine.register_events("seen", event_payload={"seen": ("item",)})
            >>> handle = engine.add_event_handler("seen", lambda item: print("saw", item))
            >>> _ = engine.run(["a"])
            saw a
        """
        if event_to_attr is not None and not isinstance(event_to_attr, Mapping):
            raise ValueError(f"Expected event_to_attr to be dictionary. Got {type(event_to_attr)}.")
        counters, payload = event_to_attr or _NOTHING, event_payload or _NOTHING
        event: Any
        for index, event in enumerate(event_names):
            if not isinstance(event, str) and hasattr(event, "name") and hasattr(event, "filter"):  # another library's event
                event = CallableEventWithFilter(event)
            if not isinstance(event, str):
                raise TypeError(f"Value at {index} of event_names should be a str or EventEnum, but given {event!r}")
            counter = counters.get(event, getattr(event, "counted_by", None))
            self._table.declare(event, counter, payload.get(event, getattr(event, "payload", ())))
            if counter is not None:
                self.state.add_counter(event, counter)

    def has_registered_events(self, event: EventLike) -> bool:
        """Tells whether `event` is one of this engine's."""
        return event in self._table

    def add_event_handler(
        self, event_name: EventLike, handler: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> RemovableEventHandle:
        """Registers `handler` to run at an event, after those registered before it.

        The handler is called with (engine, *args, **kwargs), or without the engine where its signature has no room for it or
        where its first parameter has a default and is not named `engine`. EXCEPTION_RAISED adds the exception after the engine.

        Args:
            event_name: an event, a filtered event such as `Events.EPOCH_COMPLETED(every=2)`, or several joined with `|`.
            handler: the callable.
            *args, **kwargs: handed on at each call.

        Returns:
            A handle that removes the registration.

        Raises:
            ValueError: not an event of this engine, a filter on an event without a counter, or a handler that cannot be called so.
        """
        registered = []
        for event in each_event(event_name):
            slot = self._table.slot(event)
            registered.append((slot, slot.add(event, handler, args, kwargs)))
            if slot.counts_firings and slot.counter is not None:
                self.state.add_counter(slot.event, slot.counter)
        return RemovableEventHandle(event_name, self, registered)

    def on(
        self, event_name: EventLike | None = None, /, *args: Any, event_filter: EventLike | None = None, **kwargs: Any
    ) -> Callable[[F], F]:
        """Returns the decorator form of `add_event_handler`; the function stays what it is, so decorators stack.

        Args:
            event_name: the event. `event_filter` is another name for it; give exactly one.
            *args, **kwargs: handed on at each call.

        Raises:
            TypeError: none or both of the two were given.
        """
        if (event_name is None) == (event_filter is None):
            raise TypeError(f"Give exactly one event: got event_name={event_name!r} and event_filter={event_filter!r}")
        event: Any = event_name if event_name is not None else event_filter

        def decorator(function: F) -> F:
            self.add_event_handler(event, function, *args, **kwargs)
            return function

        return decorator

    def has_event_handler(self, handler: Callable[..., Any], event_name: EventLike | None = None) -> bool:
        """Tells whether `handler` is registered, filtered or not, on one event (or list of events) or on any."""
        slots = self._table.slots
        events = slots if event_name is None else [event for event in each_event(event_name) if event in slots]
        return any(slots[event].find(handler) for event in events)

    def remove_event_handler(self, handler: Callable[..., Any], event_name: EventLike) -> None:
        """Removes every registration of `handler` on an event (or list of events), filtered or not.

        Raises:
            ValueError: the event never had a handler, or not this one.
        """
        for event in each_event(event_name):
            slot = self._table.used_slot(event)
            records = slot.find(handler)
            if not records:
                raise ValueError(f"Input handler '{handler}' is not found among registered event handlers of {event}")
            slot.remove(records)

    def fire_event(self, event_name: EventLike, *payload: Any) -> None:
        """Runs the handlers of an event now. For custom events; the loop fires its own.

        Args:
            event_name: the event.
            *payload: handed to the handlers after the engine, as the event declares it.

        Raises:
            ValueError: not an event of this engine.
            TypeError: more or less payload than a custom event declares.
        """
        slot = self._table.slot(event_name)
        if slot.custom:
            if len(payload) != len(slot.positional):
                raise wrong_payload(slot, payload)
            if slot.counts_firings and slot.counter is not None:
                setattr(self.state, slot.counter, getattr(self.state, slot.counter, 0) + 1)
        self._fire(slot, payload)

    def _fire(self, slot: Slot, payload: tuple[Any, ...] = (), named: dict[str, Any] = _NOTHING) -> None:
        self.last_event_name = slot.event
        state = self.state
        for record in slot.records:
            every = record.every
            if every is None or not state.iteration % every:
                call = record.call
                if payload or named:
                    call(self, *payload, **named)
                else:
                    call(self)

    @property
    def _allowed_events(self) -> list[Any]:  # Ignite's ProgressBar asks for it
        return list(self._table)
