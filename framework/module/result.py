"""What `fit` returns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from framework.engine.state import State
from framework.metrics.recorder import Point


@dataclass(frozen=True, slots=True)
class FitResult:
    """How a run ended and what it measured.

    Attributes:
        status: "completed": a limit was reached; "stopped": someone called `terminate`, or it was a dry run; "interrupted": someone
            called `interrupt`, a signal came, or `max_time_s` was reached.
        reason: one sentence that says why it ended.
        state: the state of the training engine, without batch, output and data.
        metrics: the last value of each metric, by full name such as "train/loss" and "val/accuracy".
        history: one row an epoch or validation: "epoch", "iteration", "time_s" (seconds since the epoch began) and the metrics.
        series: by full name, the points of each curve: a mean every `log_every` iterations.
        best_checkpoint: that with the best value of the monitored metric; None where none was monitored.
        last_checkpoint: the newest; None without a `run_dir`.

    Example:
        >>> from framework import FitResult, State
        >>> result = FitResult("completed", "max_epochs=1 was reached.", State(), {"train/loss": 0.5}, [], {})
        >>> result.metrics["train/loss"]
        0.5
    """

    status: str
    reason: str
    state: State
    metrics: dict[str, Any]
    history: list[dict[str, Any]]
    series: dict[str, list[Point]]
    best_checkpoint: Path | None = None
    last_checkpoint: Path | None = None

    def __repr__(self) -> str:
        numbers = ", ".join(f"{name} {value:.4g}" for name, value in self.metrics.items() if isinstance(value, int | float))
        return f"FitResult({self.status}: {self.reason} {numbers})"
