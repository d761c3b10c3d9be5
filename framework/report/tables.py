"""The tables of a page: metrics, settings, processes, checkpoints, history."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from math import isnan
from pathlib import Path
from typing import Any

from framework.report.curves import is_number, row_curves
from framework.report.record import RunRecord
from framework.report.settings import flat_settings
from framework.report.text import NOTHING, html, link, moment, number
from framework.report.throughput import began_s

_ROWS = 500
"""Of the history."""
_WIDTHS = {"began": "short", "command": "long"}
"""Of the cells of a process, classes of page.css."""
_LONGEST = 2_000  # characters of a metric that is no number


def table(head: Iterable[str], rows: Iterable[Iterable[str]], *, css: str = "") -> str:
    """Returns a table of cells that are HTML; the first of each row is its head."""
    first = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    body = "".join(f'<tr><th scope="row">{name}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>' for name, *cells in rows)
    return f'<div class="wide"><table class="{css}"><thead><tr>{first}</tr></thead><tbody>{body}</tbody></table></div>'


def metric_values(run: RunRecord) -> dict[str, list[tuple[int, float]]]:
    """Returns (iteration, value) of each metric at the ends of epochs and validations."""
    found = row_curves(run)
    for name, value in run.metrics.items():
        if is_number(value) and name not in found:
            found[name] = [(run.iteration, value)]
    return dict(sorted(found.items(), key=lambda each: each[0].startswith("train/")))


def metrics_table(run: RunRecord) -> str:
    """Returns a table of the last, lowest and highest value of each metric of a run."""
    rows = []
    for name, values in metric_values(run).items():
        known = [each for each in values if not isnan(each[1])] or values
        low, high = min(known, key=lambda each: each[1]), max(known, key=lambda each: each[1])
        mark = ' <span class="tag">monitored</span>' if name == run.monitor else ""
        rows.append([_name(name) + mark, f"<b>{_last(run, name, values)}</b>", _at(*low), _at(*high)])
    return table(["metric", "last", "lowest", "highest"], rows, css="numbers") if rows else ""


def comparison(runs: Sequence[RunRecord], heads: Sequence[str]) -> str:
    """Returns a table of the metrics of several runs: the last value, and from where to where it went."""
    of_runs = [metric_values(run) for run in runs]
    rows = []
    for name in dict.fromkeys(name for found in of_runs for name in found):
        cells, best = [], _best(name, runs, of_runs)
        for run, found in zip(runs, of_runs, strict=True):
            values = [value for _, value in found.get(name, ()) if not isnan(value)]
            span = f'<span class="span">{number(min(values))} {NOTHING} {number(max(values))}</span>' if values else ""
            tag = ' <span class="tag">best</span>' if run is best else ""
            cells.append(f"{tag} <b>{_last(run, name, found[name])}</b>{span}" if name in found else NOTHING)
        rows.append([_name(name), *cells])
    return table([f"last value, lowest {NOTHING} highest", *heads], rows, css="numbers") if rows else ""


def _best(name: str, runs: Sequence[RunRecord], of_runs: Sequence[Mapping[str, list[tuple[int, float]]]]) -> RunRecord | None:
    """Returns the run that was the best one at its best moment; None where nobody knows which direction is better."""
    known = [
        (run, [value for _, value in found[name] if not isnan(value)])
        for run, found in zip(runs, of_runs, strict=True)
        if name in found
    ]
    known = [(run, values) for run, values in known if values]
    pick = min if name.endswith("loss") else None
    for run, values in known:  # a checkpoint that was the best holds the highest value, or the lowest
        kept = run.best_checkpoint
        if pick is None and name == run.monitor and kept is not None and min(values) < max(values):
            pick = max if kept.value == max(values) else min if kept.value == min(values) else None
    if pick is None or len(known) < 2:
        return None
    bests = [pick(values) for _, values in known]
    return known[bests.index(pick(bests))][0] if bests.count(pick(bests)) == 1 else None


def differing_settings(runs: Sequence[RunRecord], heads: Sequence[str]) -> str:
    """Returns a table of the settings in which several runs differ."""
    found = [flat_settings(run.config) for run in runs]
    names = dict.fromkeys(name for settings in found for name in settings)
    rows = [
        [_name(name), *(html(settings.get(name, NOTHING)) for settings in found)]
        for name in names
        if name != "fit.run_dir" and len({settings.get(name) for settings in found}) > 1
    ]
    return table(["setting", *heads], rows) if rows else ""


def environment(run: RunRecord) -> str:
    """Returns what all processes of a run have in common, and below it a row for each of them with what they have not."""
    entries = [{name: _entry(name, value) for name, value in entry.items()} for entry in run.environment]
    if not entries:
        return ""
    names = list(dict.fromkeys(name for entry in entries for name in entry))
    common = [name for name in names if len({entry.get(name) for entry in entries}) == 1]
    listed = "".join(f"<dt>{_name(name)}</dt><dd>{html(entries[0][name])}</dd>" for name in common)
    other = [name for name in names if name not in common]
    rows = [
        [str(index), *(f'<span class="{_WIDTHS.get(name, "")}">{html(entry.get(name, NOTHING))}</span>' for name in other)]
        for index, entry in enumerate(entries, start=1)
    ]
    return f"<dl>{listed}</dl>" + (table(["process", *map(_name, other)], rows, css="processes") if other else "")


def checkpoints(run: RunRecord, folder: Path) -> str:
    """Returns a table of the checkpoints, with links from a page in `folder`."""
    rows = []
    for each in run.checkpoints:
        tags = [name for name, found in (("best", run.best_checkpoint), ("last", run.last_checkpoint)) if each is found]
        name = f'<a href="{html(link(each.path, folder))}/">{html(each.path.name)}</a>'
        shown = "".join(f' <span class="tag">{tag}</span>' for tag in tags)
        value = [] if run.monitor is None else [NOTHING if each.value is None else number(each.value)]
        rows.append([name + shown, str(each.step), NOTHING if each.epoch is None else str(each.epoch), *value])
    monitor = [] if run.monitor is None else [_name(run.monitor)]
    return table(["checkpoint", "iteration", "epoch", *monitor], rows, css="numbers") if rows else ""


def history(run: RunRecord) -> str:
    """Returns the newest rows of the history, oldest first."""
    shown = run.history[-_ROWS:]
    names = list(dict.fromkeys(name for row in shown for name, value in row.items() if is_number(value) and name != "epoch"))
    rows = [[_cell(row.get("epoch")), *(_cell(row.get(name)) for name in names)] for row in shown]
    left = len(run.history) - len(shown)
    note = f'<p class="note">The first {left} rows are in metrics.jsonl.</p>' if left else ""
    return note + table(["epoch", *map(_name, names)], rows, css="numbers") if rows else ""


def others(run: RunRecord) -> str:
    """Returns the last value of each metric that is no number, as text."""
    found = {name: value for name, value in run.metrics.items() if not is_number(value)}
    return "".join(
        f"<dt>{_name(name)}</dt><dd><pre>{html(_shortened(_as_text(value)))}</pre></dd>" for name, value in found.items()
    )


def _last(run: RunRecord, name: str, values: Sequence[tuple[int, float]]) -> str:
    last = run.metrics.get(name)
    return number(last if is_number(last) else values[-1][1])


def _cell(value: Any) -> str:
    return number(value) if is_number(value) else NOTHING


def _at(iteration: int, value: float) -> str:
    return f'{number(value)} <span class="at">at {number(iteration)}</span>'


def _name(name: str) -> str:
    return f"<bdi>{html(name)}</bdi>"


def _entry(name: str, value: Any) -> str:
    if name == "command" and isinstance(value, list):
        return shlex.join(map(str, value))
    if name == "began" and (time_s := began_s(value)) is not None:
        return moment(time_s)
    return NOTHING if value is None else _as_text(value)


def _as_text(value: Any) -> str:
    if isinstance(value, list) and value and all(isinstance(row, list) for row in value):
        cells = [[_as_text(cell) for cell in row] for row in value]  # a matrix
        width = max((len(cell) for row in cells for cell in row), default=0)
        return "\n".join("  ".join(cell.rjust(width) for cell in row) for row in cells)
    if isinstance(value, Mapping | list):
        return json.dumps(value, ensure_ascii=False)
    return number(value) if isinstance(value, float) else str(value)


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} … and {len(text) - _LONGEST} more characters"
