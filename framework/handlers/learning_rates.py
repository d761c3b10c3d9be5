"""Draws the learning rate of each optimizer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch.optim import Optimizer

from framework.engine.engine import Engine
from framework.handlers.gauges import add_gauge


class LearningRates:
    """Adds the learning rate of each optimizer to the curves, at each of their points.

    The curve is "train/lr"; of several optimizers "train/lr/<optimizer>"; of several groups of parameters also their number, or the
    text that a group has under "name": "train/lr/0". A point has the rate that the next step takes; those at the end of an epoch
    come before the schedules that count epochs.

    Example:
        >>> import torch
        >>> from framework import LearningRates, TrainModule
        >>> class Line(TrainModule):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.layer = torch.nn.Linear(1, 1)
        ...     def training_step(self, batch):
        ...         return self.layer(batch).square().mean()
        ...     def configure_optimizers(self):
        ...         return torch.optim.SGD(self.parameters(), lr=0.1)
        ...     def configure_schedulers(self, optimizers):
        ...         return torch.optim.lr_scheduler.ExponentialLR(optimizers["main"], gamma=0.5)
        >>> result = Line().fit([torch.ones(2, 1)], max_epochs=3, handlers=[LearningRates()], progress=False)
        >>> [point.value for point in result.series["train/lr"]]
        [0.1, 0.05, 0.025]
    """

    def __init__(self) -> None:
        self._optimizers: Mapping[str, Optimizer] = {}

    def on_started(self, engine: Engine) -> None:
        """Begins to draw."""
        add_gauge(engine, self, self._read)
        self._optimizers = engine.state.optimizers

    def on_closed(self) -> None:
        """Lets go of the optimizers."""
        self._optimizers = {}

    def _read(self, iteration: int) -> dict[str, float]:
        rates: dict[str, float] = {}
        for name, optimizer in self._optimizers.items():
            curve, groups = f"lr/{name}" if len(self._optimizers) > 1 else "lr", optimizer.param_groups
            for number, group in enumerate(groups):
                if "lr" in group:
                    rates[f"{curve}/{_name(group, number)}" if len(groups) > 1 else curve] = float(group["lr"])
        return rates


def _name(group: Mapping[str, Any], number: int) -> str:
    name = group.get("name")
    return name if isinstance(name, str) and name else str(number)
