"""The handlers of an engine, written where they run: the conditions, the calls, in their order."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from framework.engine.dispatch import Record, Slot
from framework.engine.engine import Engine
from framework.engine.filters import Filter, condition_of
from framework.module.drawing.names import Names, remark_on
from framework.module.drawing.page import Page

Written = Mapping[Any, Callable[[], None] | None]
"""By function of the framework: writes what its call is in plain PyTorch; None where it does nothing in this run."""


class Handlers:
    """Writes the calls at the events of one engine.

    Args:
        page: where to.
        names: of the objects whose methods are handlers.
        engine: whose tables are read.
        called: the name of the engine.
        counts: by counter of an event, the expression that has it.
        written: how to write handlers of the framework that are plain PyTorch.
    """

    def __init__(
        self, page: Page, names: Names, engine: Engine, called: str, counts: Mapping[str, str], written: Written | None = None
    ) -> None:
        self._page = page
        self._names = names
        self._slots = engine._table.slots
        self._called = called
        self._counts = counts
        self.written: dict[Any, Callable[[], None] | None] = dict(written or {})
        self._drawn: set[str] = set()

    def functions(self, *events: str) -> list[Any]:
        """Returns the functions that run at these events, those left out that do nothing in this run."""
        records = [record for event in events for record in self._slots[event].records]
        return [_function_of(record) for record in records if self._does_something(record)]

    def calls(self, event: str) -> list[str]:
        """Returns the calls at an event, those left out that do nothing in this run."""
        slot = self._slots[event]
        return [self._call(slot, record) for record in slot.records if self._does_something(record)]

    def draw(self, *events: str) -> None:
        """Writes all calls at these events, one event after the other."""
        for event in events:
            slot = self._slots[event]
            self._drawn.add(slot.event)
            for record in slot.records:
                self._draw(slot, record)

    def pass_over(self, event: str) -> None:
        """Takes an event as drawn whose handlers are shown in another way."""
        self._drawn.add(event)

    def left(self) -> Iterator[str]:
        """Yields a sentence for each handler at an event that was not drawn: the loop does not fire it."""
        for slot in self._slots.values():
            if slot.event not in self._drawn:
                for record in slot.records:
                    if not _is_internal(_function_of(record)):
                        condition = "" if record.due is None else f"if {self._condition(slot, record.due)}: "
                        yield f"{getattr(slot.event, 'value', slot.event)}: {condition}{self._call(slot, record)}"

    def _does_something(self, record: Record) -> bool:
        function = _function_of(record)
        return self.written.get(function, function) is not None

    def _draw(self, slot: Slot, record: Record) -> None:
        function = _function_of(record)
        writes = self.written.get(function, function)
        if writes is None:
            return
        with self._if_due(slot, record):
            if writes is not function:
                writes()
            else:
                self._page.line(self._call(slot, record), remark_on(record.given))

    def _if_due(self, slot: Slot, record: Record) -> AbstractContextManager[None]:
        return nullcontext() if record.due is None else self._page.block(f"if {self._condition(slot, record.due)}:")

    def _condition(self, slot: Slot, due: Filter) -> str:
        count = self._counts.get(slot.counter or "", f"{self._called}.state.{slot.counter}")
        return condition_of(due, count) or f"{self._names.of_handler(due)}({self._called}, {count})"  # a function of the user's

    def _call(self, slot: Slot, record: Record) -> str:
        """Returns the call as the engine makes it: what it hands over is found out by the engine's own rules."""
        seen: list[str] = []
        call = slot._bind(_Spy(record.given, seen), (), {})
        call(self._called, *slot.positional, **{name: name for name in slot.keyword})
        return f"{self._names.of_handler(record.given)}({', '.join(seen)})"


class _Spy:
    """Has the signature of a handler, and writes down what it is called with."""

    def __init__(self, handler: Callable[..., Any], seen: list[str]) -> None:
        self.__signature__ = inspect.signature(handler)
        self._seen = seen

    def __call__(self, *args: str, **kwargs: str) -> None:
        self._seen += [*args, *(f"{name}={value}" for name, value in kwargs.items())]


def _function_of(record: Record) -> Any:
    return getattr(record.given, "__func__", record.given)


def _is_internal(function: Any) -> bool:
    return str(getattr(function, "__module__", "")).startswith("framework.module.")
