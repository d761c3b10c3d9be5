"""What the loggers for files and services share: what is written for which iteration, and nothing twice."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from time import time
from typing import Any

from framework.loggers.base import Logger, RunFacts
from framework.loggers.scalars import row_scalars, scalars

NOTHING = -1
"""What a service holds of a run that it does not know."""


class Adapter(Logger):
    """Hands numbers to a file or a service, by name and iteration.

    Points go out as they are. Of a row the means of an epoch are called `train_epoch/...`, since `train/...` has the points. What
    is no number is left out.

    `evaluate` with the object that a `fit` has had adds its results to that run, at its last iteration.
    """

    _verb = "fit"
    _iteration = 0  # the newest
    _epoch = 0
    _points_until = _rows_until = NOTHING

    def begin(self, facts: RunFacts) -> None:
        self._verb = facts.verb
        kept = self._open(facts)
        self._points_until, self._rows_until = min(facts.points_until, kept), min(facts.rows_until, kept)
        if facts.verb == "fit":
            self._iteration, self._epoch = facts.goes_on_from or 0, 0

    def points(self, iteration: int, epoch: int, time_s: float, values: Mapping[str, float]) -> None:
        self._iteration, self._epoch = iteration, epoch
        if iteration > self._points_until:
            self._write(iteration, epoch, time_s, scalars(values))

    def row(self, values: Mapping[str, Any]) -> None:
        self._iteration, self._epoch = values.get("iteration", self._iteration), values.get("epoch", self._epoch)
        found = row_scalars(values)
        if found and ("iteration" not in values or self._iteration > self._rows_until):
            self._write(self._iteration, self._epoch, time(), found)

    @abstractmethod
    def _open(self, facts: RunFacts) -> int:
        """Begins, or goes on. Returns up to which iteration what a process before has written is there and stays."""

    @abstractmethod
    def _write(self, iteration: int, epoch: int, time_s: float, values: Mapping[str, float]) -> None:
        """Adds a number to each of some curves."""

    @abstractmethod
    def close(self, status: str, reason: str) -> None:
        """Ends."""


def configuration(facts: RunFacts) -> dict[str, Any]:
    """Returns what services keep beside the curves: how the run was made."""
    return {
        "verb": facts.verb,
        "module": facts.module,
        "seed": facts.seed,
        "hparams": dict(facts.hparams),
        "settings": dict(facts.settings),
    }


def flat(values: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Returns nested values under joined names.

    Example:
        >>> from framework.loggers.adapter import flat
        >>> flat({"seed": 1, "settings": {"max_epochs": 3}})
        {'seed': 1, 'settings/max_epochs': 3}
    """
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{before}{name}/")
        else:
            found[f"{before}{name}"] = value
    return found
