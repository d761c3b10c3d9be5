"""Draws a chart as SVG that fits any width: places are shares of the picture, and texts and lines keep their size."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan
from typing import Any

from framework.report.axes import SIZE, Span, span_of, ticks
from framework.report.curves import Chart, Curve, Style
from framework.report.grouping import RATE
from framework.report.text import html, number, visible
from framework.report.thinning import Thinned, is_drawn

COLOURS = 8
"""Of the palette in page.css."""
_DASHES = 4
_DOTS = 40  # of a curve, at most
_MARKS = 60  # of a curve, of values that are not finite
_NAN = "\u00d7"  # a cross
_LISTED = 5  # iterations of such values that are named


def draw_chart(chart: Chart, index: int, x: Span, names: Sequence[str]) -> str:
    """Returns a chart as a figure.

    Args:
        chart: what is drawn.
        index: its number on the page.
        x: the axis of iterations.
        names: of the runs.
    """
    y = value_span(chart)
    several = len(names) > 1
    curves = "".join(_curve(chart, curve, x, y, several=several) for curve in chart.curves)
    marks = "".join(_marks(curve.thinned, x) for curve in chart.curves)
    legend = "".join(_legend(chart, kind, several=several) for kind in range(len(chart.labels)))
    return (
        f'<figure class="chart" data-chart="{index}"><figcaption><h3>{html(chart.title)}</h3>'
        '<button type="button" class="log tool" aria-pressed="false">log scale</button></figcaption>'
        f'<div class="legend">{legend}</div>'
        f'<div class="plot"><svg role="img" tabindex="0" aria-label="{html(describe(chart, names))}">'
        f'<g class="axis x">{_x_axis(x)}</g><g class="axis y">{_y_axis(y)}</g>'
        f'<svg class="curves" viewBox="0 0 {SIZE} {SIZE}" preserveAspectRatio="none" width="100%" height="100%">{curves}</svg>'
        f'<g class="marks">{marks}</g></svg></div>{_note(chart, names)}</figure>'
    )


def value_span(chart: Chart) -> Span:
    """Returns the axis of values: over all that has a place on it."""
    return span_of(value for curve in chart.curves for value in curve.thinned.ys if is_drawn(value))


def chart_data(chart: Chart) -> dict[str, Any]:
    """Returns what the script of the page needs of a chart: what cannot be drawn is a text."""
    y = value_span(chart)
    curves = []
    for curve in chart.curves:
        found: dict[str, Any] = {"run": curve.run, "kind": curve.kind, "x": curve.thinned.xs, "y": [*map(_value, curve.thinned.ys)]}
        if curve.thinned.means is not None:
            found["means"] = [[x, _value(mean)] for x, mean in curve.thinned.means]
        curves.append(found)
    kinds = [
        {"label": visible(label), "marked": style.marked, "look": _look(chart, 0, kind)}
        for kind, (label, style) in enumerate(zip(chart.labels, chart.styles, strict=True))
    ]
    return {"y": [y.low, y.high], "smooth": chart.title != RATE, "kinds": kinds, "curves": curves}


def describe(chart: Chart, names: Sequence[str]) -> str:
    """Returns a chart in words, for those who do not see it."""
    parts = []
    for curve in chart.curves:
        ys = curve.thinned.ys
        finite = [value for value in ys if is_drawn(value)]
        span = f", from {number(min(finite))} to {number(max(finite))}" if finite else ""
        run = f"{names[curve.run]}, " if len(names) > 1 else ""
        parts.append(f"{run}{chart.labels[curve.kind]}: {number(ys[0])} at first, {number(ys[-1])} at last{span}")
    return f"{chart.title} over iterations. {'; '.join(parts)}."


def path(xs: Sequence[float], ys: Sequence[float], x: Span, y: Span) -> str:
    """Returns the line through some points; a value that has no place breaks it.

    Example:
        >>> from framework.report.axes import Span
        >>> from framework.report.chart import path
        >>> path([0, 5, 10, 10], [0.0, 1.0, float("nan"), 0.5], Span(0, 10), Span(0, 1))
        'M0 1000L500 0M1000 500h0'
    """
    parts: list[str] = []
    length = 0  # points of the piece at hand
    for at, value in zip(xs, ys, strict=True):
        if is_drawn(value):
            parts.append(f"{'L' if length else 'M'}{_place(at, x)} {_height(value, y)}")
            length += 1
            continue
        if length == 1:
            parts.append("h0")  # a point alone
        length = 0
    return "".join(parts) + ("h0" if length == 1 else "")


def dots(xs: Sequence[float], ys: Sequence[float], x: Span, y: Span) -> str:
    """Returns dots at some points of a curve, spread over it, the last one among them."""
    drawn = [(at, value) for at, value in zip(xs, ys, strict=True) if is_drawn(value)]
    stride = -(-len(drawn) // _DOTS) or 1
    return "".join(f"M{_place(at, x)} {_height(value, y)}h0" for at, value in drawn[::-1][::stride])


def _place(value: float, axis: Span) -> str:
    return f"{axis.place(value):.1f}".removesuffix(".0")


def _height(value: float, axis: Span) -> str:
    return f"{SIZE - axis.place(value):.1f}".removesuffix(".0")


def _percent(value: float, axis: Span) -> str:
    return f"{axis.place(value) / SIZE:.2%}"


def _value(value: float) -> Any:
    return float(f"{value:.6g}") if is_drawn(value) else number(value)


def _look(chart: Chart, run: int, kind: int, *, several: bool = False) -> str:
    style: Style = chart.styles[kind]
    colour = run if several else chart.colours[kind]
    return f"c{colour % COLOURS} d{style.dash % _DASHES}{' marked' if style.marked else ''}"


def _curve(chart: Chart, curve: Curve, x: Span, y: Span, *, several: bool) -> str:
    xs, ys = curve.thinned.xs, curve.thinned.ys
    marked = chart.styles[curve.kind].marked
    drawn = f'<path class="dots" d="{dots(xs, ys, x, y)}"/>' if marked else ""
    dense = "" if marked or curve.thinned.means is None else " dense"
    look = _look(chart, curve.run, curve.kind, several=several) + dense
    return (
        f'<g class="curve {look}" data-run="{curve.run}" data-kind="{curve.kind}">'
        f'<path class="line" d="{path(xs, ys, x, y)}"/>{drawn}</g>'
    )


def _legend(chart: Chart, kind: int, *, several: bool) -> str:
    look = f"neutral d{chart.styles[kind].dash % _DASHES}" if several else _look(chart, 0, kind)
    dot = '<path class="dots" d="M15 5h0"/>' if chart.styles[kind].marked else ""
    return (
        f'<button type="button" class="key" data-kind="{kind}" aria-pressed="true">'
        f'<svg class="{look}" width="30" height="10" aria-hidden="true"><path class="line" d="M1 5H29"/>{dot}</svg>'
        f"<bdi>{html(chart.labels[kind])}</bdi></button>"
    )


def _x_axis(x: Span) -> str:
    return "".join(
        f'<line x1="{_percent(value, x)}" x2="{_percent(value, x)}" y1="0" y2="100%"/>'
        f'<text x="{_percent(value, x)}" y="100%" dy="1.25em" text-anchor="{"middle" if value else "start"}">{text}</text>'
        for value, text in ticks(x)
    )


def _y_axis(y: Span) -> str:
    return "".join(
        f'<line x1="0" x2="100%" y1="{1 - y.place(value) / SIZE:.2%}" y2="{1 - y.place(value) / SIZE:.2%}"/>'
        f'<text x="0" dx="-6" y="{1 - y.place(value) / SIZE:.2%}" dy="0.32em" text-anchor="end">{text}</text>'
        for value, text in ticks(y)
    )


def _marks(thinned: Thinned, x: Span) -> str:
    """Returns a mark at each value that has no place: a cross for NaN, an arrow for what is infinite."""
    lost = [(at, value) for at, value in zip(thinned.xs, thinned.ys, strict=True) if not is_drawn(value)]
    stride = -(-len(lost) // _MARKS) or 1
    return "".join(
        f'<text x="{_percent(at, x)}" y="{"100%" if value < 0 else "0"}" dy="{"-0.2em" if value < 0 else "0.8em"}" '
        f'text-anchor="middle">{_NAN if isnan(value) else "↑" if value > 0 else "↓"}</text>'
        for at, value in lost[::stride]
    )


def _note(chart: Chart, names: Sequence[str]) -> str:
    """Returns what is to be said below a chart: where values are not finite."""
    lines = []
    for curve in chart.curves:
        lost = [(at, value) for at, value in zip(curve.thinned.xs, curve.thinned.ys, strict=True) if not is_drawn(value)]
        if lost:
            whose = f"{names[curve.run]}, " if len(names) > 1 else ""
            named = ", ".join(f"{number(value)} at {number(at)}" for at, value in lost[:_LISTED])
            more = ", …" if len(lost) > _LISTED else ""
            lines.append(f"<li><bdi>{html(whose + chart.labels[curve.kind])}</bdi>: {named}{more}</li>")
    return f'<ul class="note" aria-label="values that are not finite">{"".join(lines)}</ul>' if lines else ""
