"""Numbers on an axis: how far it goes, where its ticks are, what is written beside them."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil, floor, log10
from typing import NamedTuple

SIZE = 1000
"""Units of a chart's width, and of its height."""
_MARGIN = 0.05  # of the height, above and below
_SMALLEST = 1e-290


class Span(NamedTuple):
    """From where to where an axis goes."""

    low: float
    high: float

    def place(self, value: float) -> float:
        """Returns where a value lies, from 0 at the low end to `SIZE` at the high one."""
        return (value - self.low) / (self.high - self.low) * SIZE


def span_of(values: Iterable[float]) -> Span:
    """Returns the axis for some finite values: a little longer than they need, also where all are the same.

    Example:
        >>> from framework.report.axes import span_of
        >>> span_of([0.0, 100.0]), span_of([2.0, 2.0]), span_of([])
        (Span(low=-5.0, high=105.0), Span(low=1.8, high=2.2), Span(low=0.0, high=1.0))
    """
    found = list(values)
    if not found:
        return Span(0.0, 1.0)
    low, high = min(found), max(found)
    if high - low <= 1e-7 * max(abs(low), abs(high)):
        half = abs(low) * 0.1 if abs(low) > _SMALLEST else 1.0
        return Span(low - half, high + half)
    margin = max((high - low) * _MARGIN, _SMALLEST)
    return Span(low - margin, high + margin)


def ticks(span: Span, about: int = 5) -> list[tuple[float, str]]:
    """Returns round values inside an axis, each with its text.

    Example:
        >>> from framework.report.axes import Span, ticks
        >>> [text for _, text in ticks(Span(0, 184))]
        ['0', '50', '100', '150']
        >>> [text for _, text in ticks(Span(0, 40_000))]
        ['0', '10k', '20k', '30k', '40k']
        >>> [text for _, text in ticks(Span(0.00001, 0.00003), about=2)]
        ['1e-5', '2e-5', '3e-5']
    """
    step = _round_step((span.high - span.low) / about)
    first, last = ceil(span.low / step - 1e-9), floor(span.high / step + 1e-9)
    values = [index * step for index in range(first, last + 1)]
    largest = max(map(abs, values), default=1.0)
    return [(value, _text(value, step, largest)) for value in values]


def _round_step(rough: float) -> float:
    """Returns 1, 2 or 5 times a power of ten, the first that is not below `rough`."""
    power = 10.0 ** floor(log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))


def _text(value: float, step: float, largest: float) -> str:
    if value == 0:
        return "0"
    if 1e-3 <= largest < 1e4:
        return f"{value:.{max(0, -floor(log10(step) + 1e-9))}f}"
    if 1e4 <= largest < 1e9:
        unit, letter = (1e6, "M") if largest >= 1e6 else (1e3, "k")
        return f"{value / unit:.{max(0, -floor(log10(step / unit) + 1e-9))}f}{letter}"
    digits = max(0, floor(log10(abs(value)) + 1e-9) - floor(log10(step) + 1e-9))
    mantissa, _, exponent = f"{value:.{digits}e}".partition("e")
    return f"{mantissa}e{int(exponent)}"
