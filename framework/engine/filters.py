"""The filters behind `Events.X(every=3)`: they decide, from an event's counter, whether a handler is due."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from framework.engine.signature import require

Filter = Callable[[Any, int], bool]
"""Takes (engine, counter), returns True when the handler is due. Counters start at 1."""


def build_filter(
    event_filter: Filter | None,
    every: int | None,
    once: int | Sequence[int] | None,
    before: int | None,
    after: int | None,
) -> Filter | None:
    """Returns the filter that the arguments of `Events.X(...)` ask for; None for `every=1`, which is no filter.

    Raises:
        TypeError: `event_filter` is not callable.
        ValueError: arguments from more than one group, a value out of range, or a filter that does not take (engine, counter).
    """
    window = (every, before, after)
    given = (event_filter is not None) + (once is not None) + any(value is not None for value in window)
    if given != 1:
        raise ValueError(
            "Only one of the input arguments should be specified, except before, after and every: "
            f"got event_filter={event_filter!r}, every={every!r}, once={once!r}, before={before!r}, after={after!r}. "
            "Give event_filter alone, once alone, or any of every, before and after."
        )
    if event_filter is not None:
        if not callable(event_filter):
            raise TypeError(f"Argument event_filter should be a callable, got {event_filter!r}")
        require(event_filter, "engine", "event", role="event_filter")
        return event_filter
    if once is not None:
        return _once(once)
    return _within(every, before, after)


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _once(once: int | Sequence[int]) -> Filter:
    counts = [once] if isinstance(once, int) else once
    if not isinstance(counts, Sequence) or not counts or not all(_is_integer(count) and count > 0 for count in counts):
        raise ValueError(f"Argument once should either be a positive integer or a list of positive integers, got {once!r}")
    due_at = frozenset(counts)
    shown = f"in {tuple(sorted(due_at))}" if len(due_at) > 1 else f"== {counts[0]}"
    return _shown_as(f"{{count}} {shown}", lambda engine, count: count in due_at)


def _within(every: int | None, before: int | None, after: int | None) -> Filter | None:
    if every is not None and not (_is_integer(every) and every > 0):
        raise ValueError(f"Argument every should be integer and greater than zero, got {every!r}")
    for name, value in (("before", before), ("after", after)):
        if value is not None and not (_is_integer(value) and value >= 0):
            raise ValueError(f"Argument {name} should be integer and greater or equal to zero, got {value!r}")
    low, high, step = after or 0, float("inf") if before is None else before, every or 1
    if before is None and after is None:
        return None if step == 1 else _shown_as(f"{{count}} % {step} == 0", lambda engine, count: count % step == 0)
    span = f"{low} < {{count}}" + ("" if before is None else f" < {high}")
    shown = span if step == 1 else f"{span} and ({{count}} - {low + 1}) % {step} == 0"
    return _shown_as(shown, lambda engine, count: low < count < high and (count - low - 1) % step == 0)


def condition_of(due: Filter, count: str) -> str | None:
    """Returns a filter as a Python expression; None for a function of the user's own.

    Args:
        due: the filter.
        count: the expression that it looks at.
    """
    shown: str | None = getattr(due, "_shown_as", None)
    return None if shown is None else shown.format(count=count)


def _shown_as(shown: str, due: Filter) -> Filter:
    due._shown_as = shown  # type: ignore[attr-defined]  # functions take attributes
    return due
