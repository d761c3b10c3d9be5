"""What happens during a run, by name: `Events`, custom events, filters on them and lists of them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum, EnumMeta
from typing import Any, Protocol, TypeAlias

from framework.engine.filters import Filter, build_filter


class CallableEventWithFilter(str):
    """An event, perhaps narrowed by a filter: the text is the event's NAME, so it equals and hashes like that name.

    Equality sees the name only: an event equals its filtered forms, the string of its name, and any other library's event of
    that name that compares by name. Text comparison makes this as fast as a dictionary can be.

    Args:
        event: a name, a member of `Events` or of an `EventEnum`, or a filtered event.
        filter_fn: takes (engine, counter), returns whether handlers are due. Same as `event_filter`.
        every, once, before, after: as in calling an event, see `__call__`.
        value: the lower-case value; the event's own by default.
        name: the NAME; the event's own by default.

    Example:
        >>> from framework.engine import CallableEventWithFilter, Events
        >>> third = CallableEventWithFilter(Events.ITERATION_COMPLETED, every=3)
        >>> third == Events.ITERATION_COMPLETED, third.filter(None, 3), third.filter(None, 4)
        (True, True, False)
    """

    filter: Filter | None
    every: int | None
    payload: tuple[str, ...] = ()  # names of what `fire_event` hands to handlers after the engine
    counted_by: str | None = None  # the attribute of `state` that filters look at, where the class names it
    _name_: str
    _value_: str

    def __new__(
        cls,
        event: str,
        filter_fn: Filter | None = None,
        every: int | str | None = None,
        once: int | Sequence[int] | None = None,
        *,
        before: int | None = None,
        after: int | None = None,
        event_filter: Filter | None = None,
        value: str | None = None,
        name: str | None = None,
    ) -> CallableEventWithFilter:
        if isinstance(every, str):  # the third place of Ignite's constructor is the name
            name, every = every, None
        chosen = filter_fn if filter_fn is not None else event_filter
        arguments = {"event_filter": chosen, "every": every, "once": once, "before": before, "after": after}
        self = cls._make(name or str(getattr(event, "name", event)), value or str(getattr(event, "value", event)))
        if any(argument is not None for argument in arguments.values()):
            self._narrow(**arguments)
        else:
            self.filter = getattr(event, "filter", None)
            self.every = getattr(event, "every", None)
        return self

    @classmethod
    def _make(cls, name: str, value: str) -> CallableEventWithFilter:
        self = str.__new__(cls, name)
        self._name_, self._value_ = name, value
        self.filter = self.every = None
        return self

    def _narrow(self, **arguments: Any) -> None:
        self.filter = build_filter(**arguments)
        plain_every = self.filter is not None and arguments["before"] is None and arguments["after"] is None
        self.every = arguments["every"] if plain_every else None

    @property
    def name(self) -> str:
        """The NAME of the event, which is also its text."""
        return self._name_

    @property
    def value(self) -> str:
        """The value of the event: the lower-case name for `Events`."""
        return self._value_

    def __call__(
        self,
        event_filter: Filter | None = None,
        every: int | None = None,
        once: int | Sequence[int] | None = None,
        before: int | None = None,
        after: int | None = None,
    ) -> CallableEventWithFilter:
        """Returns a narrowed copy of this event: its handlers run only when due. The event itself is left as it is.

        Give one of the three: `event_filter`, `once`, or any of `every`, `before` and `after` together.

        Args:
            event_filter: takes (engine, counter), returns whether handlers are due.
            every: due at each `every`-th count; counted from `after` where that is given.
            once: due at this count, or at each count of this list.
            before: due at counts below this one.
            after: due at counts above this one.

        Raises:
            TypeError: `event_filter` is not callable.
            ValueError: more than one of the three groups, or a value out of range.

        Example:
            >>> from framework.engine import Engine, Events
            >>> engine, seen = Engine(lambda engine, batch: None), []
            >>> handle = engine.add_event_handler(Events.ITERATION_COMPLETED(every=2), lambda e: seen.append(e.state.iteration))
            >>> _ = engine.run(range(5)); seen
            [2, 4]
        """
        narrowed = CallableEventWithFilter._make(self.name, self.value)
        narrowed._narrow(event_filter=event_filter, every=every, once=once, before=before, after=after)
        return narrowed

    def __or__(self, other: str | EventsList) -> EventsList:
        return EventsList(self, other)

    @staticmethod
    def default_event_filter(engine: Any, event: int) -> bool:
        """Returns True. Deprecated: an event without a filter needs none."""
        warnings.warn("Events.default_event_filter is deprecated: leave the filter out instead.", UserWarning, stacklevel=2)
        return True

    def __repr__(self) -> str:
        return f"<event={self.name}, filter={self.filter!r}>"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)


class _MembersByName(EnumMeta):
    """Gives each member's constructor its name: Enum alone hands over the value only, and an event's text is its name."""

    def __new__(metacls, cls: str, bases: tuple[type, ...], classdict: Any, **kwargs: Any) -> Any:
        for name in classdict._member_names:
            dict.__setitem__(classdict, name, (name, classdict[name]))
        return super().__new__(metacls, cls, bases, classdict, **kwargs)


class EventEnum(CallableEventWithFilter, Enum, metaclass=_MembersByName):
    """Base of custom events: subclass it with string values, then `engine.register_events(*MyEvents)`.

    Beside the value stand the names of what `fire_event(event, ...)` hands to handlers after the engine. Filters count the firings
    of an event; where the class names an attribute of `state` they look at that, and the user writes it:
    `class TextEvents(EventEnum, event_to_attr={"SENTENCE_READ": "sentences"})`.

    Example:
        >>> from framework.engine import Engine, EventEnum
        >>> class TextEvents(EventEnum):
        ...     SENTENCE_READ = "sentence_read", "words"
        >>> engine = Engine(lambda engine, batch: engine.fire_event(TextEvents.SENTENCE_READ, batch.split()))
        >>> engine.register_events(*TextEvents)
        >>> handle = engine.add_event_handler(TextEvents.SENTENCE_READ(every=2), lambda words: print(words))
        >>> _ = engine.run(["The cat sat", "on", "the mat", "and slept"])
        ['on']
        ['and', 'slept']
    """

    def __new__(cls, name: str, value: str | tuple[str, ...]) -> EventEnum:
        texts = value if isinstance(value, tuple) else (value,)
        if not texts or not all(isinstance(text, str) for text in texts):
            raise TypeError(f"{cls.__name__}.{name} = {value!r} is no event. Write {name} = {name.lower()!r}, 'an_argument'.")
        self = cls._make(name, texts[0])
        self.payload = texts[1:]
        return self  # type: ignore[return-value]

    def __init_subclass__(cls, event_to_attr: Mapping[str, str] | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name, attribute in (event_to_attr or {}).items():
            if name not in cls.__members__:
                raise ValueError(f"event_to_attr of {cls.__name__} names {name!r}; its members are {', '.join(cls.__members__)}.")
            cls.__members__[name].counted_by = attribute

    @classmethod
    def _missing_(cls, value: object) -> Any:
        return cls.__members__.get(value) if isinstance(value, str) else None

    def __repr__(self) -> str:
        return f"{type(self).__name__}.{self.name}"

    __str__ = __repr__


class Events(EventEnum):
    """The events that an engine fires, in the order in which this loop fires them.

    ```
    fire("STARTED")
    while epoch < max_epochs:
        epoch += 1
        fire("EPOCH_STARTED")
        for _ in range(epoch_length):
            fire("GET_BATCH_STARTED")
            try:
                batch = next(batches)
            except StopIteration:
                fire("DATALOADER_STOP_ITERATION")
                batches = iter(data)
                batch = next(batches)
            fire("GET_BATCH_COMPLETED")
            iteration += 1
            fire("ITERATION_STARTED")
            output = step(batch)
            fire("ITERATION_COMPLETED")
        fire("EPOCH_COMPLETED")
    fire("COMPLETED")
    ```

    A handler or the step may ask for another end. Nothing else fires between the event in which it asked and the first one here
    (asked in the step, ITERATION_COMPLETED still fires):

    | asked by | fires | then |
    | --- | --- | --- |
    | terminate() | TERMINATE, COMPLETED | the run is over |
    | terminate(skip_completed=True) | TERMINATE | the run is over |
    | terminate_epoch() | TERMINATE_SINGLE_EPOCH, EPOCH_COMPLETED | the next epoch, on fresh batches |
    | terminate_epoch(skip_epoch_completed=True) | TERMINATE_SINGLE_EPOCH | the next epoch, on fresh batches |
    | interrupt() | INTERRUPT | run() returns; the next run() goes on after this point |
    | an exception, with a handler for it | EXCEPTION_RAISED | the run is over |

    Filters count epochs for STARTED, EPOCH_STARTED, EPOCH_COMPLETED and COMPLETED, and iterations over the whole run for the
    batch and iteration events; the other events here have no counter and take no filter.

    Example:
        >>> from framework.engine import Events
        >>> Events.EPOCH_COMPLETED(every=5) | Events.COMPLETED
        EventsList(<event=EPOCH_COMPLETED, ...>, Events.COMPLETED)
    """

    STARTED = "started"
    EPOCH_STARTED = "epoch_started"
    GET_BATCH_STARTED = "get_batch_started"
    GET_BATCH_COMPLETED = "get_batch_completed"
    ITERATION_STARTED = "iteration_started"
    ITERATION_COMPLETED = "iteration_completed"
    EPOCH_COMPLETED = "epoch_completed"
    COMPLETED = "completed"
    EXCEPTION_RAISED = "exception_raised", "exception"
    DATALOADER_STOP_ITERATION = "dataloader_stop_iteration"
    TERMINATE = "terminate"
    TERMINATE_SINGLE_EPOCH = "terminate_single_epoch"
    INTERRUPT = "interrupt"


class EventsList:
    """Several events as one: a handler registered on it is registered on each, in order, duplicates included.

    Example:
        >>> from framework.engine import Events, EventsList
        >>> len(EventsList(Events.STARTED, Events.COMPLETED)), len(Events.STARTED | Events.COMPLETED | Events.TERMINATE)
        (2, 3)
    """

    def __init__(self, *events: EventLike) -> None:
        self._events: list[Any] = []
        for event in events:
            self._append(event)

    def _append(self, event: EventLike) -> None:
        if isinstance(event, EventsList):
            self._events.extend(event)
        elif isinstance(event, CallableEventWithFilter) or hasattr(event, "filter"):
            self._events.append(event)
        else:
            raise TypeError(f"Argument event should be Events or CallableEventWithFilter, got {event!r}")

    def __or__(self, other: EventLike) -> EventsList:
        return EventsList(self, other)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._events)

    def __len__(self) -> int:
        return len(self._events)

    def __getitem__(self, index: int) -> Any:
        return self._events[index]

    def __repr__(self) -> str:
        return f"EventsList({', '.join(map(repr, self._events))})"


class NamedEvent(Protocol):
    """Any other library's event: it has a name, and compares by it."""

    @property
    def name(self) -> str: ...


EventLike: TypeAlias = str | EventsList | NamedEvent
"""What handlers can be registered on: an event, its name, a filtered event, or a list of those."""
