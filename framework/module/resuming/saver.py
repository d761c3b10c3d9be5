"""Decides when a checkpoint is written, and which is the best."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from math import inf
from time import perf_counter
from typing import Any, Protocol

from framework.engine.engine import Engine
from framework.engine.events import Events
from framework.metrics.direction import better, direction, monitored
from framework.module.resuming.snapshot import Parts, Snapshots
from framework.module.run import Run
from framework.module.settings import FitSettings

WITH_BATCH = (Events.GET_BATCH_COMPLETED, Events.ITERATION_STARTED)
"""Between fetch and step: no checkpoint holds the batch."""


class Target(Protocol):
    """Takes checkpoints: the folder of a run."""

    def save(self, step: int, parts: Mapping[str, Any], *, best: bool, facts: Mapping[str, Any]) -> None:
        """Takes one."""


class Saver:
    """Writes the checkpoints of one run.

    Args:
        folder: where to.
        snapshots: takes them.
        run: is asked whether all losses were finite.
        settings: when to save, and what to monitor.
        facts: stored with each checkpoint.
        setup: what has to be the same for the run to go on; stored as well.

    Attributes:
        around: makes the context in which a checkpoint is written: a watchdog allows it any time.
        time_is_up: tells whether a checkpoint is due by the clock; that of one process, or what several have agreed on.
    """

    around: Callable[[], AbstractContextManager[Any]] = nullcontext

    def __init__(
        self,
        folder: Target,
        snapshots: Snapshots,
        run: Run,
        settings: FitSettings,
        facts: Mapping[str, Any],
        setup: Mapping[str, Any],
    ) -> None:
        self._folder = folder
        self._snapshots = snapshots
        self._run = run
        self._settings = settings
        self._facts = dict(facts)
        self._setup = dict(setup)
        self._due = False
        self._improved = False
        self._best: float | None = None
        self._next_s = inf if settings.save_every_s is None else perf_counter() + settings.save_every_s
        self.time_is_up: Callable[[], bool] = self.is_time
        self._pending: Parts | None = None  # the state before the event at hand
        self._saved: tuple[int, str | None] | None = None  # iteration and event of the newest checkpoint

    def mark_due(self) -> None:
        """Asks for a checkpoint at the next boundary."""
        self._due = True

    def is_due(self) -> bool:
        """Tells whether a checkpoint is to be written at this boundary."""
        return self._due or self._improved or self.time_is_up()

    def is_time(self) -> bool:
        """Tells whether so many seconds have passed since the last checkpoint that another is due, by this process's clock."""
        return perf_counter() >= self._next_s

    def note_evaluation(self, engine: Engine) -> None:
        """Looks at the monitored metric after each evaluation.

        Raises:
            SettingError: the evaluation does not give it, or nobody knows which direction is better.
        """
        state, monitor = engine.state, self._settings.monitor
        if monitor is None:
            return
        value = monitored(monitor, state.metrics)
        if better(value, self._best, direction(monitor, self._settings.mode, state.directions)):
            self._best, self._improved = value, True

    def remember(self, engine: Engine, event: str | None = Events.EPOCH_COMPLETED) -> None:
        """Takes the state as it is before `event` changes it, for a run that has to stop while it is going on."""
        if event == Events.STARTED:
            self._pending = self._take_apart(engine, None)
        elif engine.should_terminate_single_epoch:
            self._pending = self._take_apart(engine, Events.TERMINATE_SINGLE_EPOCH)
        else:
            again = event == Events.ITERATION_COMPLETED
            self._pending = self._take_apart(engine, Events.ITERATION_COMPLETED, repeat_event=again)

    def save_start(self, engine: Engine) -> None:
        """STARTED, after all else: saves weights that an evaluation has found to be the best so far, before a step changes them."""
        if self._improved and engine._position is not None and engine._position.after is None:  # not in a process that goes on
            self.save(engine, Events.STARTED)

    def save(self, engine: Engine, after: str | None) -> None:
        """Writes a checkpoint of the run as it is."""
        self._run.check_values(engine)
        self._write(engine, self._take(engine, after), after)

    def save_interrupted(self, engine: Engine) -> None:
        """Writes a checkpoint where the run was paused, unless a batch or gradients of an open window would be lost."""
        position = engine._position
        assert position is not None, "the run is paused"
        if self._run.parts.window_is_open or position.after in WITH_BATCH:
            return
        self._run.check_values(engine)
        if self._run.dropped and self._pending is not None:
            self._write(engine, self._pending, None)
        elif self._saved != (engine.state.iteration, position.after):  # else the signal came in that save
            self._write(engine, self._take(engine, position.after), position.after)

    def save_terminated(self, engine: Engine) -> None:
        """TERMINATE: saves the run's end here where COMPLETED will not come."""
        if engine.should_terminate == "skip_completed":
            self.remember_end(engine)
            self.save_end(engine)

    def remember_end(self, engine: Engine) -> None:
        """COMPLETED, before anything else: takes the state as the run ends, so that a longer run can go on from it."""
        state, run = engine.state, self._run
        after = Events.EPOCH_COMPLETED if state.iteration == run.summarised_at else Events.ITERATION_COMPLETED
        if state.epoch > 0 and state.iteration == run.epoch_start:
            after = Events.EPOCH_STARTED  # nothing of the epoch was done
        self._pending = self._take_apart(engine, after)

    def save_end(self, engine: Engine) -> None:
        """Writes what `remember_end` has taken, unless it was just saved and no evaluation since has found it to be the best."""
        assert self._pending is not None, "the end was remembered"
        after = self._pending["run"]["progress"]["after"]
        if self._improved or self._saved != (engine.state.iteration, after):
            self._run.check_values(engine)
            self._write(engine, self._pending, after)
        self._pending = None

    def restore(self, engine: Engine, parts: Mapping[str, Any]) -> None:
        """Puts a run back to where it was when the checkpoint of `parts` was written."""
        self._snapshots.restore(engine, parts)
        if parts["run"]["monitor"] == self._settings.monitor:
            self._best = parts["run"]["best"]

    def _take(self, engine: Engine, after: str | None, *, repeat_event: bool = False) -> Parts:
        parts = self._snapshots.take(engine, after, repeat_event=repeat_event)
        parts["run"].update(best=self._best, monitor=self._settings.monitor, setup=self._setup)
        return parts

    def _take_apart(self, engine: Engine, after: str | None, *, repeat_event: bool = False) -> Parts:
        """Takes a state that an evaluation does not change."""
        parts = self._take(engine, after, repeat_event=repeat_event)
        if self._run.evaluations:
            self._snapshots.set_apart(parts)
        return parts

    def _write(self, engine: Engine, parts: Parts, after: str | None) -> None:
        iteration = engine.state.iteration
        if self._settings.nan != "ignore":
            self._snapshots.refuse_non_finite(iteration)
        with self.around():
            self._folder.save(iteration, parts, best=self._improved, facts={**self._facts, "epoch": engine.state.epoch})
        self._due = self._improved = False
        self._pending = None
        self._saved = (iteration, after)
        if self._settings.save_every_s is not None:
            self._next_s = perf_counter() + self._settings.save_every_s
