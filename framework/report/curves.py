"""The charts of a page: which curves there are in some runs, and which of them share a picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from operator import gt
from typing import Any, NamedTuple, TypeGuard

from framework.report.axes import Span
from framework.report.grouping import SPEED, WATCHED, Place, places
from framework.report.record import RunRecord
from framework.report.thinning import LARGEST, Thinned, thin
from framework.report.throughput import iterations_per_s

MOST_POINTS = 1_000
"""Of a curve. Where a page has many curves, each gets less."""
_POINTS_OF_A_PAGE = 60_000
_FEWEST_POINTS = 50
_NO_METRICS = ("epoch", "iteration", "time_s")
_LAST = 10**15  # iteration
_COLOURS = {"train": 0, "val": 1}
EPOCH_MEANS = ", means of epochs"


class Style(NamedTuple):
    """How a curve is told from others, apart from its colour.

    Attributes:
        marked: with a dot at some of its points: measured now and then, such as at the end of an epoch.
        dash: the number of its pattern, 0 for a whole line.
    """

    marked: bool
    dash: int


@dataclass(frozen=True, slots=True)
class Curve:
    """One curve of one run.

    Attributes:
        run: its number.
        kind: what it shows, as a number in the labels of its chart.
        thinned: its points.
    """

    run: int
    kind: int
    thinned: Thinned


@dataclass(frozen=True, slots=True)
class Chart:
    """Curves that are drawn together.

    Attributes:
        title: what they show.
        labels: of each kind of curve.
        styles: of each kind of curve.
        colours: of each kind of curve, where there is but one run; of several, each has its own.
        curves: those with points.
    """

    title: str
    labels: list[str]
    styles: list[Style]
    colours: list[int]
    curves: list[Curve]


class _Raw(NamedTuple):
    place: Place
    run: int
    marked: bool
    xs: Sequence[float]
    ys: Sequence[float]


def scalars(row: Mapping[str, Any]) -> dict[str, float]:
    """Returns the metrics of a row of the history that are numbers."""
    return {name: value for name, value in row.items() if name not in _NO_METRICS and is_number(value)}


def is_number(value: Any) -> TypeGuard[float]:
    """Says whether a value is a number that a curve can have, NaN and the infinities among them."""
    return isinstance(value, float) or (isinstance(value, int) and not isinstance(value, bool) and abs(value) < LARGEST)


def iteration_of(row: Mapping[str, Any]) -> int | None:
    """Returns the iteration of a row of the history, None where it names none."""
    iteration = row.get("iteration")
    return iteration if isinstance(iteration, int) and 0 <= iteration < _LAST else None


def iterations_of(charts: Sequence[Chart]) -> Span:
    """Returns the axis of iterations that all charts share."""
    return Span(0.0, float(max([curve.thinned.xs[-1] for chart in charts for curve in chart.curves], default=0) or 1))


def charts_of(runs: Sequence[RunRecord]) -> list[Chart]:
    """Returns the charts of some runs: first what they learn, then how they work."""
    raws = [raw for raw in _raw_curves(runs) if raw.xs]
    most = max(_FEWEST_POINTS, min(MOST_POINTS, _POINTS_OF_A_PAGE // max(len(raws), 1)))
    titles: dict[str, list[_Raw]] = {}
    for raw in raws:
        titles.setdefault(raw.place.title, []).append(raw)
    charts = [_chart(title, found, most) for title, found in titles.items()]
    return sorted(charts, key=_rank)


def _rank(chart: Chart) -> tuple[int, bool, bool]:
    """Orders charts: the loss, what was evaluated, what else the run recorded, and then how it worked."""
    watched = WATCHED.index(chart.title) + 1 if chart.title in WATCHED else 0
    evaluated = any(not label.startswith("train") for label in chart.labels)
    return watched, chart.title != "loss", not evaluated


def _raw_curves(runs: Sequence[RunRecord]) -> Iterator[_Raw]:
    """Yields all curves; those of one name in all runs beside each other."""
    rows = [row_curves(run) for run in runs]
    names = dict.fromkeys(name for run, found in zip(runs, rows, strict=True) for name in [*run.series, *found])
    for name, place in places(list(names)).items():
        for number, (run, found) in enumerate(zip(runs, rows, strict=True)):
            points, of_rows = run.series.get(name, ()), found.get(name, ())
            if points:
                yield _raw(place, number, False, points)
                if len(points) > len(of_rows):  # else an epoch has but one point, which is its mean
                    yield _raw(Place(place.title, place.label + EPOCH_MEANS), number, True, of_rows)
            else:
                yield _raw(place, number, True, of_rows)
    for number, run in enumerate(runs):
        yield _raw(Place(SPEED, "train"), number, False, iterations_per_s(run))


def _raw(place: Place, run: int, marked: bool, points: Sequence[tuple[Any, ...]]) -> _Raw:
    """Returns a curve with its points by rising iteration; what no iteration can be is left out."""
    xs = [point[0] for point in points]
    if any(map(gt, xs, xs[1:])) or (xs and not (xs[0] >= 0 and xs[-1] < _LAST)):
        points = sorted((point for point in points if 0 <= point[0] < _LAST), key=lambda point: point[0])
        xs = [point[0] for point in points]
    return _Raw(place, run, marked, xs, [point[1] for point in points])


def row_curves(run: RunRecord) -> dict[str, list[tuple[int, float]]]:
    """Returns (iteration, value) of each metric in the history that is a number."""
    found: dict[str, list[tuple[int, float]]] = {}
    for row in run.history:
        iteration = iteration_of(row)
        if iteration is not None:
            for name, value in scalars(row).items():
                found.setdefault(name, []).append((iteration, value))
    return found


def _chart(title: str, raws: Sequence[_Raw], most: int) -> Chart:
    kinds = dict.fromkeys((raw.place.label, raw.marked) for raw in raws)
    ordered = sorted(kinds, key=lambda kind: (kind[1], kind[0].endswith(EPOCH_MEANS)))  # train, val, means of epochs
    labels = [label for label, _ in ordered]
    dashes = {True: count(), False: count()}
    styles = [Style(marked, next(dashes[marked])) for _, marked in ordered]
    numbers = {kind: number for number, kind in enumerate(ordered)}
    curves = [Curve(raw.run, numbers[raw.place.label, raw.marked], thin(raw.xs, raw.ys, most)) for raw in raws]
    return Chart(title, labels, styles, _colours(labels), curves)


def _colours(labels: Sequence[str]) -> list[int]:
    """Returns a colour for each label: training and validation have theirs in all charts, and means that of what they are of."""
    own = dict.fromkeys(label.removesuffix(EPOCH_MEANS) for label in labels)
    chosen = {label: _COLOURS[label] for label in own if label in _COLOURS}
    for label in own:
        if label not in chosen:
            first = 0 if label.startswith("train") else 1
            chosen[label] = next(colour for colour in count(first) if colour not in chosen.values())
    return [chosen[label.removesuffix(EPOCH_MEANS)] for label in labels]
