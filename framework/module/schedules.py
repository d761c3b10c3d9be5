"""Learning rate schedules: torch's schedulers, and when they step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from inspect import isfunction
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from framework.errors import ModuleError
from framework.module.settings import monitor_meant

_EVERY = ("step", "epoch")
_LENGTHS = ("total_steps", "T_max", "total_iters")  # what torch's schedulers call how often they step in all


@dataclass(frozen=True, slots=True)
class Schedule:
    """A torch scheduler and when it steps.

    Attributes:
        scheduler: any scheduler of `torch.optim.lr_scheduler`.
        every: "epoch", or "step": after each step that the optimizers really made.
        monitor: the full name of a metric of `val_data`, such as "val/loss", that is handed to `scheduler.step`; it then steps
            right after each evaluation.

    Example:
        >>> import torch
        >>> from framework import Schedule
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
        >>> Schedule(torch.optim.lr_scheduler.StepLR(optimizer, step_size=2), every="step").every
        'step'
    """

    scheduler: Any
    every: str = "epoch"
    monitor: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.scheduler, LRScheduler):
            raise ModuleError(
                f"Schedule(scheduler) should be a scheduler of torch.optim.lr_scheduler, got {self.scheduler!r}."
                f"{_hint(None, self.scheduler)}"
            )
        if self.every not in _EVERY:
            raise ModuleError(f"Schedule(every={self.every!r}): every is one of {', '.join(map(repr, _EVERY))}.")
        if isinstance(self.scheduler, ReduceLROnPlateau) and self.monitor is None:
            raise ModuleError("ReduceLROnPlateau needs a metric: Schedule(scheduler, monitor='val/loss').")
        if self.monitor is not None and not str(self.monitor).startswith("val/"):
            raise ModuleError(
                f"Schedule(monitor={self.monitor!r}): monitor is the full name of a metric of val_data, such as 'val/loss'."
                f"{monitor_meant(self.monitor)}"
            )
        if self.monitor is not None and self.every == "step":
            raise ModuleError("A Schedule with a monitor steps after evaluations: leave every='step' out.")


class Schedules:
    """The schedules of a run, by when they step.

    Args:
        configured: what `configure_schedulers` returned.
        optimizers: those of the run, by name.
        owner: the module's class name, for messages.

    Attributes:
        by_step, by_epoch: (name of the optimizer, scheduler) of those that follow its steps, or count epochs.
        monitored: (scheduler, name of the metric) of those that wait for one.

    Raises:
        ModuleError: not None, a scheduler, a `Schedule`, or a mapping of those; or made for another optimizer.
    """

    def __init__(self, configured: Any, optimizers: Mapping[str, Optimizer], owner: str) -> None:
        named = configured if isinstance(configured, Mapping) else {} if configured is None else {None: configured}
        self.by_step: list[tuple[str, LRScheduler]] = []
        self.by_epoch: list[tuple[str, LRScheduler]] = []
        self.monitored: list[tuple[LRScheduler, str]] = []
        for name, schedule in named.items():
            if not isinstance(schedule, Schedule | LRScheduler):
                raise ModuleError(
                    f"{owner}.configure_schedulers should return nothing, a torch scheduler, a Schedule, or a mapping of those; "
                    f"got {_came(schedule)}{'' if name is None else f' under {name!r}'}.{_hint(configured, schedule)}"
                )
            self._add(schedule if isinstance(schedule, Schedule) else Schedule(schedule), optimizers, owner)

    @property
    def all(self) -> list[LRScheduler]:
        """Every scheduler, in an order that does not change."""
        return [scheduler for _, scheduler in (*self.by_step, *self.by_epoch)] + [scheduler for scheduler, _ in self.monitored]

    def _add(self, schedule: Schedule, optimizers: Mapping[str, Optimizer], owner: str) -> None:
        scheduler = schedule.scheduler
        name = next((name for name, optimizer in optimizers.items() if scheduler.optimizer is optimizer), None)
        if name is None:
            raise ModuleError(
                f"{owner}.configure_schedulers: {type(scheduler).__name__} was made for an optimizer that fit does not step. Make "
                "it from the optimizers it is given: configure_schedulers(self, optimizers), optimizers['main']."
            )
        if schedule.monitor is not None:
            self.monitored.append((scheduler, schedule.monitor))
        elif schedule.every == "step":
            self.by_step.append((name, scheduler))
        else:
            self.by_epoch.append((name, scheduler))

    def refuse_steps_for_epochs(self, total_steps: int | None, max_epochs: int | None) -> None:
        """Refuses a scheduler that was made for the optimizer steps of the run and would step once an epoch.

        Args:
            total_steps: what `configure_schedulers` was told.
            max_epochs: of the run.

        Raises:
            ModuleError: saying which.
        """
        if total_steps is None or max_epochs is None or total_steps <= max_epochs:
            return
        for _, scheduler in self.by_epoch:
            option = next((name for name in _LENGTHS if getattr(scheduler, name, None) == total_steps), None)
            if option is not None:
                kind = type(scheduler).__name__
                raise ModuleError(
                    f"{kind}({option}={total_steps}) is made for all {total_steps} optimizer steps of the run, but would step once "
                    f"an epoch, {max_epochs} times. Return Schedule(scheduler, every='step')."
                )

    def step_after(self, optimizer: str) -> None:
        """Steps the schedules that follow each step of an optimizer."""
        for name, scheduler in self.by_step:
            if name == optimizer:
                scheduler.step()

    def step_epoch(self, steps: Mapping[str, int]) -> None:
        """Steps the schedules that count epochs, but those whose optimizer has not stepped yet, by `steps`."""
        for name, scheduler in self.by_epoch:
            if steps[name]:
                scheduler.step()

    def step_monitored(self, produced: Mapping[str, Any]) -> None:
        """Steps the schedules that wait for a metric with what an evaluation has just produced.

        Raises:
            ModuleError: it produced no such metric.
        """
        for scheduler, monitor in self.monitored:
            if monitor not in produced:
                raise ModuleError(
                    f"Schedule(monitor={monitor!r}): the evaluation gives no such metric; it gives {', '.join(produced) or 'none'}."
                )
            scheduler.step(produced[monitor])


def _came(value: Any) -> str:
    name = type(value).__name__
    return name if isinstance(value, Optimizer) else f"{value!r} ({name})"


def _hint(configured: Any, came: Any) -> str:
    """Returns what to do about something else than a scheduler, with a space before, or nothing."""
    if isinstance(came, type) and issubclass(came, LRScheduler):
        return f" It is the class: write {came.__name__}(optimizers['main'], ...)."
    if isinstance(came, Optimizer):
        return " Return optimizers from configure_optimizers."
    if (isinstance(came, Mapping) and "scheduler" in came) or (isinstance(configured, Mapping) and "scheduler" in configured):
        return " Write Schedule(scheduler, every='step' or 'epoch', monitor='val/loss')."
    if isinstance(came, Sequence) and not isinstance(came, str):
        return " Give each a name: {'first': scheduler, 'second': other}."
    if isfunction(came):
        return " For a function of the number of steps use torch.optim.lr_scheduler.LambdaLR(optimizers['main'], function)."
    return ""
