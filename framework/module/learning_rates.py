"""The learning rates of a run, as its curves have them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch.optim import Optimizer


def learning_rates(optimizers: Mapping[str, Optimizer]) -> dict[str, float]:
    """Returns the rate that the next step of each optimizer takes, by the name of its curve.

    That is "lr"; of several optimizers "lr/<optimizer>"; of several groups of parameters also their number, or the text that a
    group has under "name": "lr/0".

    Example:
        >>> import torch
        >>> from framework.module.learning_rates import learning_rates
        >>> learning_rates({"main": torch.optim.SGD([torch.zeros(1)], lr=0.1)})
        {'lr': 0.1}
    """
    rates: dict[str, float] = {}
    for name, optimizer in optimizers.items():
        curve, groups = f"lr/{name}" if len(optimizers) > 1 else "lr", optimizer.param_groups
        for number, group in enumerate(groups):
            if "lr" in group:
                rates[f"{curve}/{_name(group, number)}" if len(groups) > 1 else curve] = float(group["lr"])
    return rates


def _name(group: Mapping[str, Any], number: int) -> str:
    name = group.get("name")
    return name if isinstance(name, str) and name else str(number)
