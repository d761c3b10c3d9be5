"""Who is registered on an event, and how a call reaches them.

All questions (does the handler take the engine? which arguments? is it filtered?) are settled when a handler is added. What is
left for a firing is a tuple of calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any
from weakref import ref

from framework.engine.events import EventLike, Events, EventsList
from framework.engine.filters import Filter
from framework.engine.signature import accepts, first_positional, mismatch
from framework.engine.state import COUNTERS

Handler = Callable[..., Any]

KEYWORD_PAYLOAD: dict[str, tuple[str, ...]] = {Events.TERMINATE_SINGLE_EPOCH: ("iter_counter",)}
"""What an event hands to the handlers that have a parameter of that name; its `payload` it hands over by position."""


class Record:
    """One registration: the handler as the user gave it, and the call it became.

    `every` is the one filter that a firing looks at itself, on the iteration count: it is by far the most frequent, and a call only
    to find out that nothing is due would cost twice as much. All other filters are folded into the call.
    """

    __slots__ = ("__weakref__", "call", "due", "every", "given", "handler")

    def __init__(self, given: Handler, call: Handler) -> None:
        self.given = given
        self.handler = given  # what a handle refers to: the user's function, or the stand-in of a filtered one
        self.call = call
        self.every: int | None = None
        self.due: Filter | None = None  # the filter, whichever of the two looks at it


class FilteredHandler:
    """Stands for a filtered registration in its handle; `_parent()` returns the handler itself while it lives."""

    def __init__(self, handler: Handler) -> None:
        self._parent = ref(handler)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        handler = self._parent()
        return None if handler is None else handler(*args, **kwargs)


class Slot:
    """One event's registrations. `records` is replaced, never changed, so a firing runs those that were there when it began.

    The first filter on a custom event without a counter makes it count its firings.
    """

    __slots__ = ("counter", "counts_firings", "custom", "event", "keyword", "on_change", "positional", "records", "used")

    def __init__(self, event: str, counter: str | None, positional: tuple[str, ...] = (), *, custom: bool = False) -> None:
        self.event = event
        self.counter = counter
        self.custom = custom
        self.counts_firings = False
        self.positional = positional
        self.keyword = KEYWORD_PAYLOAD.get(event, ())
        self.records: tuple[Record, ...] = ()
        self.used = False
        self.on_change: Callable[[], Any] | None = None  # told when registrations come or go

    def add(self, event: Any, handler: Handler, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Record:
        """Registers `handler`, after checking that it can be called."""
        due: Filter | None = getattr(event, "filter", None)
        if due is not None and self.counter is None and not self.custom:
            raise ValueError(
                f"Event {self.event} has no counter, so it cannot be filtered; got {event!r}. Events with a counter are "
                f"{', '.join(COUNTERS)}, and custom events."
            )
        call = self._bind(handler, args, kwargs)
        record = Record(handler, call)
        record.due = due
        if due is not None and self.counter is None:
            self.counter, self.counts_firings = f"{getattr(self.event, 'value', self.event)}_count", True
        every: int | None = getattr(event, "every", None)
        if every is not None and self.counter == "iteration" and not self.positional:
            record.every = every
        elif due is not None:
            record.call = _filtered(call, due, self)
        if due is not None:
            record.handler = FilteredHandler(handler)
        self._replace((*self.records, record))
        self.used = True
        return record

    def remove(self, records: tuple[Record, ...]) -> None:
        """Unregisters at once: a firing under way skips the removed ones as well."""
        self._replace(tuple(record for record in self.records if record not in records))
        for record in records:
            record.call = _removed

    def _replace(self, records: tuple[Record, ...]) -> None:
        self.records = records
        if self.on_change is not None:
            self.on_change()

    def find(self, handler: Handler) -> tuple[Record, ...]:
        """Returns the registrations of `handler`, filtered or not."""
        return tuple(record for record in self.records if handler in (record.given, record.handler))

    def _bind(self, handler: Handler, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Handler:
        """Decides what the handler is called with: the engine or not, the event's payload or not."""
        if not callable(handler):
            raise TypeError(f"A handler should be callable, got {handler!r} for event {self.event}")
        by_name = dict.fromkeys(self.keyword)
        has_payload = bool(self.positional or by_name)
        first = first_positional(handler)
        named_engine = first is not None and first.name == "engine"
        own_default = first is not None and not named_engine and first.default is not first.empty
        # A first parameter with a default is the user's own (`lambda i=i: ...`); one named `engine` is for the engine.
        order = (False, True) if own_default else (True, False)
        choices = [(with_engine, payload) for payload in ((True, False) if has_payload else (False,)) for with_engine in order]
        if named_engine:  # rather without the payload than without the engine
            choices.sort(key=lambda choice: not choice[0])
        for with_engine, payload in choices:
            given = (*(("engine",) if with_engine else ()), *(self.positional if payload else ()), *args)
            if accepts(handler, given, {**kwargs, **by_name} if payload else kwargs):
                return _call(handler, with_engine, payload, has_payload, args, kwargs)
        raise mismatch(handler, ("engine", *self.positional, *args), kwargs | by_name, f"a handler of {self.event}")


class EventTable:
    """The events of one engine and their registrations."""

    def __init__(self) -> None:
        self.slots: dict[str, Slot] = {event: Slot(event, COUNTERS.get(event), event.payload) for event in Events}

    def __iter__(self) -> Iterator[Any]:
        return iter(self.slots)

    def __contains__(self, event: object) -> bool:
        return event in self.slots

    def declare(self, event: str, counter: str | None, positional: tuple[str, ...]) -> None:
        """Adds a custom event; one that is there keeps its registrations, and gets a counter if it had none."""
        slot = self.slots.setdefault(event, Slot(event, counter, positional, custom=True))
        if counter is not None and (slot.counter is None or slot.counts_firings):
            slot.counter, slot.counts_firings = counter, False

    def slot(self, event: Any) -> Slot:
        """Returns the slot of an event.

        Raises:
            ValueError: the event is not one of this engine's.
        """
        try:
            return self.slots[event]
        except (KeyError, TypeError):
            raise ValueError(
                f"Event {event!r} is not a valid event for this Engine. Its events are {', '.join(self.slots)}; "
                "register_events(...) adds your own."
            ) from None

    def used_slot(self, event: Any) -> Slot:
        """Returns the slot of an event that has had a handler, for removing one."""
        slot = self.slots.get(event)
        if slot is None or not slot.used:
            raise ValueError(f"Input event name '{event}' does not exist: no handler was ever registered on it")
        return slot


class RemovableEventHandle:
    """Removes what one `add_event_handler` registered; usable in a `with` statement.

    Holds weak references only: `engine()` and `handler()` return None once those objects are gone.

    Example:
        >>> from framework.engine import Engine, Events
        >>> engine = Engine(lambda engine, batch: None)
        >>> with engine.add_event_handler(Events.STARTED, lambda: print("once")):
        ...     _ = engine.run([0])
        once
        >>> _ = engine.run([0])
    """

    def __init__(self, event_name: EventLike, engine: Any, registered: list[tuple[Slot, Record]]) -> None:
        self.event_name = event_name
        self.engine = ref(engine)
        self.handler = ref(registered[0][1].handler)
        self._registered = [(ref(record), slot.event) for slot, record in registered]

    def remove(self) -> None:
        """Unregisters the handler from its event, or from each event of its list. Doing it twice is harmless."""
        engine = self.engine()
        if engine is None:
            return
        for reference, event in self._registered:
            record, slot = reference(), engine._table.slot(event)
            if record is not None and record in slot.records:
                slot.remove((record,))

    def __enter__(self) -> RemovableEventHandle:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()


def each_event(event: Any) -> tuple[Any, ...]:
    """Returns the events of a list of events (any library's), or the one event given."""
    if isinstance(event, EventsList) or (hasattr(event, "_events") and not isinstance(event, str)):
        return tuple(event)
    return (event,)


def wrong_payload(slot: Slot, payload: tuple[Any, ...]) -> TypeError:
    """Builds the error for a custom event that was fired with other arguments than it declares."""
    value, name = getattr(slot.event, "value", slot.event), getattr(slot.event, "name", slot.event)
    return TypeError(
        f"fire_event got {len(payload)} arguments after the event {name}, which declares {list(slot.positional)}. Name what it "
        f"hands to handlers beside the value of the event, {name} = {value!r}, 'item', or in "
        f"register_events(..., event_payload={{{name!r}: ('item',)}})."
    )


def _removed(*args: Any, **kwargs: Any) -> None:
    """Stands where a removed handler's call was."""


def _call(
    handler: Handler, with_engine: bool, payload: bool, has_payload: bool, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Handler:
    """Returns what a firing calls: `call(engine)`, or `call(engine, *payload, **payload)` on events that have one."""
    if with_engine and not has_payload and not args and not kwargs:
        return handler
    if payload and with_engine:
        return lambda engine, *given, **named: handler(engine, *given, *args, **{**kwargs, **named})
    if payload:
        return lambda engine, *given, **named: handler(*given, *args, **{**kwargs, **named})
    if with_engine:
        return lambda engine, *given, **named: handler(engine, *args, **kwargs)
    return lambda engine, *given, **named: handler(*args, **kwargs)


def _filtered(call: Handler, due: Filter, slot: Slot) -> Handler:
    """Folds a filter into a call; the counter of a custom event may be another one later."""

    def filtered(engine: Any, *payload: Any) -> None:
        if due(engine, getattr(engine.state, slot.counter or "")):
            call(engine, *payload)

    return filtered
