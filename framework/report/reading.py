"""Reads a run from its folder, without taking hold of it: also while it is at work."""

from __future__ import annotations

import json
import re
import warnings
from os import PathLike
from pathlib import Path
from typing import Any

from framework.errors import ConfigError
from framework.loggers.jsonl import Curve, MetricsFile, from_json
from framework.report.record import RunRecord, StoredCheckpoint
from framework.report.settings import flat_settings, monitored

_STEP_FOLDER = re.compile(r"step-([0-9]{8,})(?:\.([1-9][0-9]*))?")
_LARGEST_MANIFEST = 4 << 20  # bytes
_STATUS = {"status": str, "reason": str, "metrics": dict}
_NAMED = 5  # runs near a folder that is none
_WRONG = (OSError, ValueError, TypeError, LookupError, RecursionError)


def read_run(folder: str | PathLike[str]) -> RunRecord:
    """Returns what the files in the folder of a run say of it. Nothing is written, locked or trained, and torch is not needed.

    Args:
        folder: the `run_dir` of a run that is over, was killed, or is at work.

    Raises:
        ConfigError: the folder holds no run, or its run.json is damaged.

    Example:
        >>> import tempfile, torch
        >>> from framework import TrainModule, read_run
        >>> class Line(TrainModule):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.layer = torch.nn.Linear(1, 1)
        ...     def training_step(self, batch):
        ...         return self.layer(batch).square().mean()
        ...     def configure_optimizers(self):
        ...         return torch.optim.SGD(self.parameters(), lr=0.1)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Line().fit([torch.ones(2, 1)], max_epochs=3, run_dir=f"{folder}/line", progress=False)
        ...     run = read_run(f"{folder}/line")
        >>> run.name, run.status, run.reason, len(run.series["train/loss"]), run.last_checkpoint.step
        ('line', 'completed', 'max_epochs=3 was reached.', 3, 3)
    """
    path = Path(folder)
    if not (path / "run.json").is_file() or (path / "manifest.json").exists():
        raise _no_run(path)
    status = _read_status(path / "run.json")
    series, history = MetricsFile(path / "metrics.jsonl").read()
    config = _read_config(path / "config.yaml")
    monitor = monitored(flat_settings(config))
    return RunRecord(
        name=path.resolve().name,
        path=path,
        status=status["status"],
        reason=status["reason"],
        metrics=_newest(series, history) if status["status"] == "running" else status["metrics"],
        history=history,
        series=series,
        config=config,
        environment=_read_environment(path / "environment.json"),
        checkpoints=_read_checkpoints(path / "checkpoints", monitor, history),
        monitor=monitor,
    )


def _no_run(path: Path) -> ConfigError:
    """Returns what to raise for a folder without a run: it names those near it, first one that holds it, then those in it."""
    what = "holds no run" if path.is_dir() else "is no folder"
    around = [parent for parent in path.parents if _is_run(parent)]
    inside = sorted(each for each in _entries(path) if _is_run(each))
    beside = sorted(each for each in _entries(path.parent) if _is_run(each))
    near = around[:1] or inside or beside
    named = ", ".join(map(str, near[:_NAMED])) + (f" and {len(near) - _NAMED} more" if len(near) > _NAMED else "")
    hint = f" The runs near it: {named}." if near else ""
    return ConfigError(f"{path} {what}: a run is a folder that fit(..., run_dir=...) has written, with a run.json in it.{hint}")


def _is_run(path: Path) -> bool:
    return (path / "run.json").is_file() and not (path / "manifest.json").exists()


def _entries(path: Path) -> list[Path]:
    return list(path.iterdir()) if path.is_dir() else []


def _read_status(file: Path) -> dict[str, Any]:
    try:
        status: Any = from_json(json.loads(file.read_bytes()))
        wrong = [name for name, kind in _STATUS.items() if not isinstance(status[name], kind)]
    except _WRONG as error:
        raise ConfigError(f"{file} cannot be read ({type(error).__name__}: {error}). Give the folder of another run.") from error
    if wrong:
        raise ConfigError(f"{file} is damaged: {wrong[0]} is {status[wrong[0]]!r}. Give the folder of another run.")
    return dict(status)


def _newest(series: dict[str, Curve], history: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns the last value of each metric of a run that has not ended: of a row, or where there is none yet of a curve."""
    found: dict[str, Any] = {name: points[-1][1] for name, points in series.items()} if not history else {}
    for row in history:
        found |= {name: value for name, value in row.items() if "/" in name}
    return found


def _read_config(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8", errors="backslashreplace")
    except FileNotFoundError:
        return None


def _read_environment(file: Path) -> list[dict[str, Any]]:
    """Returns the entries of environment.json, with a warning none where it cannot be read."""
    try:
        entries = json.loads(file.read_bytes())
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise TypeError("it is no list of objects")
    except FileNotFoundError:
        return []
    except _WRONG as error:
        warnings.warn(f"{file} cannot be read, so the processes of the run are not shown: {error}.", UserWarning, stacklevel=3)
        return []
    return entries


def _read_checkpoints(folder: Path, monitor: str | None, history: list[dict[str, Any]]) -> list[StoredCheckpoint]:
    values = {row["iteration"]: row[monitor] for row in history if monitor in row and "iteration" in row}
    found = []
    for path in _entries(folder):
        match = _STEP_FOLDER.fullmatch(path.name)
        if match and path.is_dir() and not path.is_symlink():
            step = int(match[1])
            value = values.get(step)
            epoch, was_best = _read_manifest(path / "manifest.json")
            number = float(value) if isinstance(value, int | float) else None
            found.append((step, int(match[2] or 0), StoredCheckpoint(path, step, epoch, number, was_best)))
    return [checkpoint for *_, checkpoint in sorted(found, key=lambda each: each[:2], reverse=True)]


def _read_manifest(file: Path) -> tuple[int | None, bool]:
    """Returns the epoch of a checkpoint and whether it was the best; (None, False) for one that is damaged, or just removed."""
    try:
        with file.open("rb") as opened:
            manifest = json.loads(opened.read(_LARGEST_MANIFEST))
        return int(manifest["facts"]["epoch"]), manifest["best"] is True
    except _WRONG:
        return None, False
