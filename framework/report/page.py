"""The page of one run or several: all parts in their order, with style and script inside."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from string import Template

import framework.report.tables as tables
from framework.report.chart import COLOURS, chart_data, draw_chart
from framework.report.curves import MOST_POINTS, charts_of, is_number, iterations_of
from framework.report.grouping import WATCHED
from framework.report.record import RunRecord
from framework.report.text import NOTHING, html, link, moment, number, script_json, seconds, visible
from framework.report.throughput import began, iterations_per_s, moments, took_s

_EPOCHS = 2_000
"""Starts of epochs that the script is told, to name the epoch of a point."""


def draw_report(runs: Sequence[RunRecord], folder: Path) -> str:
    """Returns the page of some runs, as HTML.

    Args:
        runs: one or several.
        folder: the one the page is for: links are relative to it.

    Example:
        >>> from pathlib import Path
        >>> from framework.report.page import draw_report
        >>> from framework.report.record import RunRecord
        >>> run = RunRecord(name="<a>", path=Path("a"), status="running", reason="", metrics={})
        >>> "<title>&lt;a&gt;</title>" in draw_report([run], Path("."))
        True
    """
    names = run_names(runs)
    charts = charts_of(runs)
    x = iterations_of(charts)
    drawn = [(chart.title in WATCHED, draw_chart(chart, index, x, names)) for index, chart in enumerate(charts)]
    body = [
        _header(runs, names, folder),
        _section("Metrics", tables.metrics_table(runs[0]) if len(runs) == 1 else tables.comparison(runs, _heads(names))),
        _section("Settings that differ", tables.differing_settings(runs, _heads(names)) if len(runs) > 1 else ""),
        _controls(names) if charts else "",
        _section("Curves <small>over iterations</small>", _grid([figure for watched, figure in drawn if not watched])),
        _section("How it ran <small>over iterations</small>", _grid([figure for watched, figure in drawn if watched])),
        *_rest(runs, names, folder),
        _footer(runs, names, folder),
    ]
    data = {"x": [x.low, x.high], "runs": [*map(visible, names)], "charts": [chart_data(chart) for chart in charts]}
    if len(runs) == 1 and (epochs := _epochs(runs[0])):
        data["epochs"] = epochs
    style, script = _asset("page.css"), _asset("page.js")
    return Template(_asset("page.html")).substitute(
        title=html(", ".join(names)),
        style=style,
        style_hash=_hash(style),
        script=script,
        script_hash=_hash(script),
        body="\n".join(filter(None, body)),
        data=script_json(data),
    )


def run_names(runs: Sequence[RunRecord]) -> list[str]:
    """Returns a name for each run, with as much of its path as tells it from the others."""
    paths = [run.path.resolve().parts for run in runs]
    for count in range(1, max(map(len, paths)) + 1):
        names = ["/".join(parts[-count:]) for parts in paths]
        if len(set(names)) == len(names):
            break
    return names if len(runs) > 1 else [runs[0].name]


def _header(runs: Sequence[RunRecord], names: Sequence[str], folder: Path) -> str:
    if len(runs) == 1:
        run = runs[0]
        facts = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in _facts(run, folder).items())
        return (
            f'<header><div class="top"><h1><bdi>{html(run.name)}</bdi></h1>{_status(run)}</div>'
            f'<p class="reason">{_reason(run)}</p><dl class="facts">{facts}</dl></header>'
        )
    facts_of_runs = [{"status": _status(run), **_facts(run, folder), "ended": _reason(run)} for run in runs]
    columns = list(dict.fromkeys(name for facts in facts_of_runs for name in facts))
    rows = [
        [head, *(facts.get(name, NOTHING) for name in columns)] for head, facts in zip(_heads(names), facts_of_runs, strict=True)
    ]
    return f"<header><h1>{len(runs)} runs</h1></header>" + tables.table(["run", *columns], rows, css="overview")


def _facts(run: RunRecord, folder: Path) -> dict[str, str]:
    """Returns the most important of a run, by what it is."""
    epochs = [row["epoch"] for row in run.history[-1:] if is_number(row.get("epoch"))]
    start, took, speeds = began(run), took_s(run), sorted(speed for _, speed in iterations_per_s(run))
    facts = {"iterations": f"{run.iteration:,}"}
    if epochs:
        facts["epochs"] = number(epochs[0])
    if start is not None:
        facts["began"] = moment(start)
    if took is not None:
        facts["took"] = seconds(took)
    if speeds:
        facts["iterations a second"] = number(speeds[len(speeds) // 2])
    best = run.best_checkpoint
    if best is not None:
        value = "" if best.value is None else f"{html(run.monitor)} {number(best.value)}, "
        facts["best checkpoint"] = f'{value}<a href="{html(link(best.path, folder))}/">{html(best.path.name)}</a>'
    return facts


def _status(run: RunRecord) -> str:
    known = run.status if run.status in ("completed", "running", "stopped", "interrupted") else ""
    return f'<span class="status {known}">{html(run.status)}</span>'


def _reason(run: RunRecord) -> str:
    if run.reason or run.status != "running":
        return html(run.reason)
    times = [time_s for _, time_s in moments(run)]
    last = f" Its last point is of {moment(times[-1])}." if times else ""
    return f"At work, or killed.{last}"


def _heads(names: Sequence[str]) -> list[str]:
    """Returns the runs as heads of a table, each with its colour."""
    return [f'<span class="swatch c{index % COLOURS}"></span> <bdi>{html(name)}</bdi>' for index, name in enumerate(names)]


def _controls(names: Sequence[str]) -> str:
    buttons = "".join(
        f'<button type="button" class="run" data-run="{index}" aria-pressed="true">{head}</button>'
        for index, head in enumerate(_heads(names))
    )
    runs = f'<div class="runs" role="group" aria-label="runs">{buttons}</div>' if len(names) > 1 else ""
    slider = '<input type="range" id="smoothing" min="0" max="1" step="0.01" value="0">'
    return f'<div class="controls">{runs}<label class="tool">smoothing {slider}</label></div>'


def _section(title: str, content: str) -> str:
    return f"<section><h2>{title}</h2>{content}</section>" if content else ""


def _grid(figures: Sequence[str]) -> str:
    return f'<div class="grid">{"".join(figures)}</div>' if figures else ""


def _rest(runs: Sequence[RunRecord], names: Sequence[str], folder: Path) -> list[str]:
    """Returns what is to be read rather than seen: of several runs folded."""
    if len(runs) == 1:
        return _details(runs[0], folder)
    return [
        f'<details class="run-details"><summary>{head}</summary>{"".join(_details(run, folder))}</details>'
        for head, run in zip(_heads(names), runs, strict=True)
    ]


def _details(run: RunRecord, folder: Path) -> list[str]:
    config = f'<pre class="config" tabindex="0" role="region" aria-label="settings">{html(run.config)}</pre>' if run.config else ""
    other, rows = tables.others(run), tables.history(run)
    about = _section("Checkpoints", tables.checkpoints(run, folder)) + _section("Environment", tables.environment(run))
    settings = _section("Settings", config)
    return [
        f'<div class="columns">{settings}{f"<div>{about}</div>" if about else ""}</div>' if settings or about else "",
        _section("Other metrics", f'<dl class="others">{other}</dl>' if other else ""),
        f"<details><summary>History, {len(run.history)} rows</summary>{rows}</details>" if rows else "",
    ]


def _footer(runs: Sequence[RunRecord], names: Sequence[str], folder: Path) -> str:
    several = len(runs) > 1
    curves = ", ".join(
        f'<a href="{html(link(run.path / "metrics.jsonl", folder))}">{html(f"{name}/") if several else ""}metrics.jsonl</a>'
        for run, name in zip(runs, names, strict=True)
    )
    return (
        f"<footer>Of a curve at most {MOST_POINTS} points are drawn: the lowest and the highest of each stretch. All are in "
        f"{curves}. Times are in UTC.</footer>"
    )


def _epochs(run: RunRecord) -> list[list[int]]:
    """Returns (first iteration, epoch) of each epoch; nothing where they are too many."""
    ends = {
        row["epoch"]: row["iteration"]
        for row in run.history
        if isinstance(row.get("epoch"), int) and isinstance(row.get("iteration"), int)
    }
    starts = [[0, 1], *([iteration + 1, epoch + 1] for epoch, iteration in ends.items())]
    return starts if 1 < len(starts) <= _EPOCHS else []


@cache
def _asset(name: str) -> str:
    return files("framework.report").joinpath(name).read_text(encoding="utf-8").strip()


def _hash(text: str) -> str:
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"
