"""What a logger is: four verbs, with which a run tells its numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

VERBS = ("begin", "points", "row", "close")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """What a logger is told when a run begins. Everything in it is plain: numbers, texts, lists and mappings of them.

    Attributes:
        verb: "fit" or "evaluate".
        module: the name of the module's class.
        hparams: the arguments that the module was made with, by name.
        settings: those of the verb, by name.
        seed: of the run.
        run_dir: the folder of the run, None for none.
        goes_on_from: the iteration from which a run goes on, None where it begins. What lies after it is told again.
        points_until, rows_until: the last iteration of which a process before has told points, and a row; -1 for none.

    Example:
        >>> from framework import RunFacts
        >>> facts = RunFacts(verb="fit", module="Digits", hparams={"width": 4}, settings={"max_epochs": 3}, seed=0)
        >>> facts.goes_on_from is None
        True
    """

    verb: str
    module: str
    hparams: Mapping[str, Any]
    settings: Mapping[str, Any]
    seed: int
    run_dir: Path | None = None
    goes_on_from: int | None = None
    points_until: int = -1
    rows_until: int = -1


@runtime_checkable
class Logger(Protocol):
    """Takes the numbers of a run: what `fit(loggers=[...])` and `evaluate(data, loggers=[...])` are given.

    Inherit from it and write the verbs you need, or have all four in a class of your own. An error in one of them does not end the
    run: it is warned of once, and the logger gets nothing more of the run. The random streams are afterwards as they were.

    A run that goes on tells again what came after the checkpoint, with the same values: see `RunFacts.goes_on_from`.

    Example:
        >>> import torch
        >>> from framework import Logger, TrainModule
        >>> class Print(Logger):
        ...     def points(self, iteration, epoch, time_s, values):
        ...         print(iteration, {name: round(value, 3) for name, value in values.items()})
        >>> class Line(TrainModule):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.weight = torch.nn.Parameter(torch.ones(1))
        ...     def training_step(self, batch):
        ...         return (self.weight * batch).square().mean()
        ...     def configure_optimizers(self):
        ...         return torch.optim.SGD(self.parameters(), lr=0.25)
        >>> _ = Line().fit([torch.ones(2)] * 4, max_epochs=1, log_every=2, progress=False, loggers=[Print()])
        2 {'train/loss': 0.625, 'train/lr': 0.25}
        4 {'train/loss': 0.039, 'train/lr': 0.25}
    """

    def begin(self, facts: RunFacts) -> None:
        """A run begins, or goes on."""
        return  # not abstract: who inherits writes the verbs that it needs

    def points(self, iteration: int, epoch: int, time_s: float, values: Mapping[str, float]) -> None:
        """Some curves get a point.

        Args:
            iteration: when they were read, counted over the run.
            epoch: the epoch it lies in.
            time_s: wall-clock time, seconds since 1970.
            values: by full name, such as "train/loss": means since the point before.
        """
        return

    def row(self, values: Mapping[str, Any]) -> None:
        """An epoch or an evaluation is over.

        Args:
            values: of `fit` "epoch", "iteration", "time_s" (seconds since the epoch began), the means of the epoch and what the
                evaluation gave; of `evaluate` its results. By full name, such as "val/accuracy"; a metric may give any value.
        """
        return

    def close(self, status: str, reason: str) -> None:
        """The run is over, or paused.

        Args:
            status: "completed", "stopped", "interrupted", or "failed" where an error was raised.
            reason: one sentence, or the error.
        """
        return
