"""What is known of a run from the files in its folder."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from framework.loggers.jsonl import Curve


@dataclass(frozen=True, slots=True)
class StoredCheckpoint:
    """A checkpoint in the folder of a run; of its content nothing is verified.

    Attributes:
        path: its folder.
        step: the iteration it was saved at.
        epoch: the epoch it lies in; None where its manifest cannot be read.
        value: the monitored metric there; None where none is monitored, or none was measured at that step.
        was_best: whether no earlier one was as good.
    """

    path: Path
    step: int
    epoch: int | None = None
    value: float | None = None
    was_best: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """A run, as `read_run` finds it in its folder.

    Attributes:
        name: of the folder.
        path: of the folder.
        status: "completed", "stopped", "interrupted", or "running": at work, or killed.
        reason: one sentence that says why it ended; empty while it runs.
        metrics: the last value of each metric, by full name such as "train/loss" and "val/accuracy".
        history: one row an epoch or validation, as in `FitResult`.
        series: by full name, the points of each curve: (iteration, value, epoch, seconds since 1970).
        config: the text of config.yaml; None where there is none.
        environment: where each process that worked on the run ran, the first one first; see environment.json.
        checkpoints: those that are there, newest first.
        monitor: the metric that decides which checkpoint is the best; None for none.

    Example:
        >>> from pathlib import Path
        >>> from framework import RunRecord
        >>> run = RunRecord(name="a", path=Path("runs/a"), status="completed", reason="Done.", metrics={"val/loss": 0.5})
        >>> run.metrics["val/loss"], run.best_checkpoint
        (0.5, None)
    """

    name: str
    path: Path
    status: str
    reason: str
    metrics: dict[str, Any]
    history: list[dict[str, Any]] = field(default_factory=list)
    series: dict[str, Curve] = field(default_factory=dict)
    config: str | None = None
    environment: list[dict[str, Any]] = field(default_factory=list)
    checkpoints: list[StoredCheckpoint] = field(default_factory=list)
    monitor: str | None = None

    @property
    def best_checkpoint(self) -> StoredCheckpoint | None:
        """The checkpoint with the best value of the monitored metric; None where none was monitored."""
        return next((each for each in self.checkpoints if each.was_best), None)

    @property
    def last_checkpoint(self) -> StoredCheckpoint | None:
        """The newest checkpoint; None where there is none."""
        return next(iter(self.checkpoints), None)

    @property
    def iteration(self) -> int:
        """How far the run is, as far as its files say."""
        ends = [points[-1][0] for points in self.series.values() if points]
        rows = [row["iteration"] for row in self.history[-1:] if isinstance(row.get("iteration"), int)]
        return max(ends + rows, default=0)
