"""Makes a long curve short without losing what stands out of it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from math import inf, isfinite, isnan
from typing import NamedTuple

LARGEST = 1e300
"""What is beyond is drawn as infinite: differences of such numbers are."""


class Thinned(NamedTuple):
    """A curve ready to be drawn.

    Attributes:
        xs, ys: its points in order; NaN and the infinities among the ys, which break it.
        means: (x, mean of the finite ys) of each stretch, to smooth the curve from; None where no point was left out.
    """

    xs: list[float]
    ys: list[float]
    means: list[tuple[float, float]] | None


def is_drawn(y: float) -> bool:
    """Says whether a value has a place on an axis."""
    return -LARGEST < y < LARGEST


def thin(xs: Sequence[float], ys: Sequence[float], most: int) -> Thinned:
    """Returns at most about `most` points of a curve: of each stretch of equal width its lowest and its highest.

    Of what is not finite, one of each kind in a stretch stays. The first and the last point stay.

    Args:
        xs, ys: the points, by rising x.
        most: points, 4 or more.

    Example:
        >>> from framework.report.thinning import thin
        >>> thin(range(1000), [100.0 if x == 567 else float(x % 2) for x in range(1000)], most=8)
        Thinned(xs=[0, 1, 250, 251, 500, 567, 750, 751, 999], ...)
    """
    if len(xs) <= most:
        return Thinned(list(xs), list(ys), None)
    width = (xs[-1] - xs[0]) / (most // 2)
    kept = [0]
    means: list[tuple[float, float]] = []
    end = 0
    while end < len(xs):
        begin = end
        number = (xs[begin] - xs[0]) // width if width else inf
        end = len(xs) if number >= most // 2 - 1 else bisect_left(xs, xs[0] + (number + 1) * width, begin + 1)
        stretch = ys[begin:end]
        outstanding, mean = _sum_up(stretch)
        kept += [begin + index for index in outstanding if begin + index != kept[-1]]
        if mean is not None:
            means.append((xs[begin + len(stretch) // 2], mean))
    if kept[-1] != len(xs) - 1:
        kept.append(len(xs) - 1)
    return Thinned([xs[index] for index in kept], [ys[index] for index in kept], means)


def _sum_up(ys: Sequence[float]) -> tuple[list[int], float | None]:
    """Returns the places of the lowest and the highest value and of the first of each kind that has no place, and the mean."""
    low, high, total = min(ys), max(ys), sum(ys)
    if is_drawn(low) and is_drawn(high) and isfinite(total):  # NaN hides from min and max, not from sums
        return sorted({ys.index(low), ys.index(high)}), total / len(ys)
    drawn = [index for index, value in enumerate(ys) if is_drawn(value)]
    chosen: dict[str, int] = {}
    if drawn:
        chosen = {"low": min(drawn, key=ys.__getitem__), "high": max(drawn, key=ys.__getitem__)}
    for index, value in enumerate(ys):
        if not is_drawn(value):
            chosen.setdefault("NaN" if isnan(value) else str(value > 0), index)
    return sorted(set(chosen.values())), sum(ys[index] / len(drawn) for index in drawn) if drawn else None
