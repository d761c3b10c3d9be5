"""Ends a run when a metric no longer improves."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, isnan
from typing import Any

from framework.engine.engine import Engine
from framework.errors import SettingError
from framework.metrics.direction import better, direction, monitored


class EarlyStopping:
    """Ends a run when a metric has not improved for some evaluations.

    NaN is no improvement. A resumed run goes on counting where it stopped; a new one starts anew.

    Args:
        monitor: the full name of the metric, such as "val/loss".
        patience: evaluations in a row without improvement after which the run ends.
        mode: "min" or "max": whether a lower or a higher value is better. None follows the metric, and where that does not say, a
            name that ends in "loss".
        min_delta: an improvement is one by more than this, in the metric's own unit.

    Attributes:
        best: the best value so far, None before there is one.
        best_iteration: when it was reached.
        bad: evaluations since then.

    Raises:
        SettingError: a value of a wrong type or out of range.

    Example:
        >>> from framework import Engine
        >>> from framework.handlers import EarlyStopping
        >>> stopping, losses = EarlyStopping("val/loss", patience=2), [0.9, 0.5, 0.6, 0.7, 0.4]
        >>> def evaluate(engine, batch):
        ...     engine.state.metrics["val/loss"] = batch
        ...     stopping.on_evaluated(engine)  # fit calls it after each evaluation
        >>> engine = Engine(evaluate)
        >>> engine.run(losses).iteration
        4
        >>> engine.terminate_reason
        'val/loss was not below its best value, 0.5 in iteration 2, in 2 evaluations in a row (patience=2).'
    """

    all_ranks = True  # each rank ends by itself, after the same evaluation

    best: float | None
    best_iteration: int | None
    bad: int

    def __init__(self, monitor: str, *, patience: int = 3, mode: str | None = None, min_delta: float = 0.0) -> None:
        if not isinstance(monitor, str) or not monitor:
            raise SettingError(f"monitor={monitor!r}: monitor should be the full name of a metric, such as 'val/loss'.")
        if not isinstance(patience, int) or isinstance(patience, bool) or patience < 1:
            raise SettingError(f"patience={patience!r}: patience should be a whole number of at least 1 (evaluations).")
        if not isinstance(min_delta, int | float) or isinstance(min_delta, bool) or not 0 <= min_delta < inf:
            raise SettingError(f"min_delta={min_delta!r}: min_delta should be a number of at least 0.")
        if mode is not None:
            direction(monitor, mode, {})
        self.monitor = monitor
        self.patience = patience
        self.mode = mode
        self.min_delta = float(min_delta)
        self._reset()

    def on_started(self, engine: Engine) -> None:
        """Begins to count anew, unless the run goes on."""
        if engine.state.iteration == 0:
            self._reset()  # the object may have served another run
        if hasattr(engine.state, "directions"):
            self._direction(engine)  # an unknown direction is an error now, and not an epoch later

    def on_evaluated(self, engine: Engine) -> None:
        """Counts the evaluations without improvement, and ends the run after `patience` of them."""
        mode, value = self._direction(engine), monitored(self.monitor, engine.state.metrics)
        if better(value, self.best, mode, self.min_delta):
            self.best, self.best_iteration, self.bad, self._nan = value, engine.state.iteration, 0, 0
            return
        self.bad += 1
        self._nan += isnan(value)
        if self.bad >= self.patience:
            engine.terminate(reason=self._reason(mode))

    def state_dict(self) -> dict[str, Any]:
        """Returns the best value and the count, for a checkpoint."""
        return {
            "monitor": self.monitor,
            "best": self.best,
            "best_iteration": self.best_iteration,
            "bad": self.bad,
            "nan": self._nan,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on with a saved count. That of another metric says nothing about this one, which then starts anew."""
        self._reset()
        if state["monitor"] == self.monitor:
            self.best, self.best_iteration = state["best"], state["best_iteration"]
            self.bad, self._nan = state["bad"], state["nan"]

    def _reset(self) -> None:
        self.best = None
        self.best_iteration = None
        self.bad = 0
        self._nan = 0  # of those, how many were NaN

    def _direction(self, engine: Engine) -> str:
        return direction(self.monitor, self.mode, getattr(engine.state, "directions", {}))

    def _reason(self, mode: str) -> str:
        span = f"in {self.bad} evaluations in a row (patience={self.patience})"
        if self.best is None:
            return f"{self.monitor} was NaN {span}."
        best = f"its best value, {self.best:.6g} in iteration {self.best_iteration},"
        delta = f" by more than {self.min_delta:g}" if self.min_delta else ""
        nan = f", and was NaN in {self._nan} of them" if self._nan else ""
        return f"{self.monitor} was not {'below' if mode == 'min' else 'above'} {best}{delta} {span}{nan}."
