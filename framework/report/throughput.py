"""How fast a run was and how long it took, from the times of its points: what lies between two processes is not counted."""

from __future__ import annotations

from bisect import bisect_left
from datetime import datetime
from itertools import pairwise
from math import inf
from typing import Any, NamedTuple

from framework.report.record import RunRecord

_LATEST = 1e11
"""Seconds since 1970: what is beyond is no time."""


class Process(NamedTuple):
    """A process that worked on a run.

    Attributes:
        began: seconds since 1970.
        goes_on_from: the iteration it went on from, None for the start.
    """

    began: float
    goes_on_from: int | None


def processes(run: RunRecord) -> list[Process]:
    """Returns the processes of a run whose entries say when they began, the first one first."""
    found = []
    for entry in run.environment:
        time_s, goes_on_from = began_s(entry.get("began")), entry.get("goes_on_from")
        if time_s is not None:
            found.append(Process(time_s, goes_on_from if isinstance(goes_on_from, int) else None))
    return sorted(found, key=lambda process: process.began)


def began_s(began: Any) -> float | None:
    """Returns when a process began, seconds since 1970, from what its entry says; None where that is no time.

    Example:
        >>> from framework.report.throughput import began_s
        >>> began_s("2023-11-14T22:13:20+00:00"), began_s("soon")
        (1700000000.0, None)
    """
    try:
        return datetime.fromisoformat(began).timestamp() if isinstance(began, str) else None
    except (ValueError, OverflowError, OSError):
        return None


def moments(run: RunRecord) -> list[tuple[int, float]]:
    """Returns (iteration, seconds since 1970) of the points of the longest curve."""
    longest = max(run.series.values(), key=len, default=[])
    return [(iteration, time_s) for iteration, _, _, time_s in longest if 0 <= time_s < _LATEST]


def iterations_per_s(run: RunRecord) -> list[tuple[float, float]]:
    """Returns a curve of the iterations a second, by the clock.

    An interval between two points counts unless an evaluation or another process lies in it. Where an epoch has but one point,
    the time of the epoch is taken from the history.

    Example:
        >>> from pathlib import Path
        >>> from framework.report.record import RunRecord
        >>> from framework.report.throughput import iterations_per_s
        >>> points = [(10, 0.9, 1, 100.0), (20, 0.8, 1, 105.0), (30, 0.7, 2, 125.0), (40, 0.6, 2, 130.0)]
        >>> rows = [{"iteration": 20, "epoch": 1, "time_s": 9.0}]
        >>> run = RunRecord(
        ...     name="a", path=Path("a"), status="running", reason="", metrics={}, history=rows, series={"train/loss": points}
        ... )
        >>> iterations_per_s(run)
        [(20, 2.0), (40, 2.0)]
    """
    rows = {row.get("iteration") for row in run.history}
    restarts = [process.goes_on_from for process in processes(run) if process.goes_on_from is not None]
    found: list[tuple[float, float]] = []
    times = moments(run)
    for (begin, began), (end, ended) in pairwise(times):
        across = any(begin <= restart < end for restart in restarts)
        if begin < end and began < ended and begin not in rows and not across:
            found.append((end, (end - begin) / (ended - began)))
    by_epoch = _by_epoch(run)
    return found if len(found) >= len(by_epoch) else by_epoch


def _by_epoch(run: RunRecord) -> list[tuple[float, float]]:
    found: list[tuple[float, float]] = []
    ends: dict[int, tuple[int, float]] = {}  # of each epoch the last row
    for row in run.history:
        epoch, iteration, time_s = row.get("epoch"), row.get("iteration"), row.get("time_s")
        if isinstance(epoch, int) and isinstance(iteration, int) and isinstance(time_s, int | float):
            ends[epoch] = iteration, time_s
    before = 0
    for iteration, time_s in ends.values():
        if time_s > 0 and iteration > before:
            found.append((iteration, (iteration - before) / time_s))
        before = iteration
    return found


def began(run: RunRecord) -> float | None:
    """Returns when the run began, seconds since 1970, as far as its files say."""
    times = [process.began for process in processes(run)] + [time_s for _, time_s in moments(run)[:1]]
    return min(times, default=None)


def took_s(run: RunRecord) -> float | None:
    """Returns how many seconds were spent on the run up to its last point, over all its processes; None without points."""
    times = sorted(time_s for _, time_s in moments(run))
    if not times:
        return None
    starts = [process.began for process in processes(run)] or times[:1]
    lasts = [bisect_left(times, next_start) for next_start in [*starts[1:], inf]]
    return sum(max(times[last - 1] - start, 0.0) for start, last in zip(starts, lasts, strict=True) if last)
