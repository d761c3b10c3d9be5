"""Which way a monitored metric is better, and whether a value is better than the best so far."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from math import isnan
from numbers import Real
from typing import Any

from torch import Tensor

from framework.errors import SettingError

_ROUNDING = 5e-7  # relative


def direction(monitor: str, mode: str | None, directions: Mapping[str, bool | None]) -> str:
    """Returns "min" or "max": whether a lower or a higher value of a metric is better.

    Args:
        monitor: the full name of the metric, such as "val/loss".
        mode: "min" or "max", which decides; None to follow the metric, and where that does not say, a name that ends in "loss".
        directions: by full name of each metric, whether a higher value is better (torchmetrics' `higher_is_better`); None where it
            does not say so.

    Raises:
        SettingError: another mode; or none, and nothing else tells.

    Example:
        >>> from framework.metrics.direction import direction
        >>> direction("val/loss", None, {}), direction("val/accuracy", None, {"val/accuracy": True})
        ('min', 'max')
    """
    if mode is not None:
        if mode not in ("min", "max"):
            raise SettingError(f"mode={mode!r}: mode is 'min', 'max', or None to follow the metric.")
        return mode
    higher = directions.get(monitor)
    if higher is not None:
        return "max" if higher else "min"
    if monitor.lower().endswith("loss"):
        return "min"
    if directions and not any(f"{monitor}/".startswith(f"{name}/") for name in directions):  # a metric may have parts
        near = difflib.get_close_matches(monitor, directions, n=1)
        there = f"Did you mean {near[0]}?" if near else f"Those of configure_metrics are {', '.join(directions)}."
        raise SettingError(
            f"monitor={monitor!r}: no metric is called {monitor}. {there} "
            "A value that is logged or returned under this name needs mode='min' or mode='max'."
        )
    telling = [name for name, higher in directions.items() if higher is not None]
    known = f" Those that tell it are {', '.join(map(repr, telling))}." if telling else ""
    raise SettingError(
        f"monitor={monitor!r}: whether a lower or a higher value is better cannot be told from the metric or its name. "
        f"Give mode='min' or mode='max'.{known}"
    )


def better(new: float, best: float | None, mode: str, min_delta: float = 0.0) -> bool:
    """Tells whether a value is better than the best so far by more than `min_delta`.

    NaN is never better; everything else is better than NaN and than None, which stands for no value yet. What float32 rounds, other
    batches or processes round otherwise: a difference of that size is none.

    Args:
        new: the value.
        best: the best value so far.
        mode: "min" or "max", as `direction` returns it.
        min_delta: how much better it has to be, in the metric's own unit.

    Example:
        >>> from framework.metrics.direction import better
        >>> better(0.5, 0.6, "min"), better(0.5, 0.6, "min", min_delta=0.2), better(float("nan"), None, "min")
        (True, False, False)
    """
    if isnan(new):
        return False
    if best is None or isnan(best):
        return True
    needed = max(min_delta, _ROUNDING * min(abs(new), abs(best)))
    return new < best - needed if mode == "min" else new > best + needed


def monitored(monitor: str, metrics: Mapping[str, Any]) -> float:
    """Returns the value of a monitored metric.

    Args:
        monitor: the full name of the metric.
        metrics: values by full name, as in `engine.state.metrics`.

    Raises:
        SettingError: there is no such metric, or it is no single number.

    Example:
        >>> from framework.metrics.direction import monitored
        >>> monitored("val/loss", {"val/loss": 0.5})
        0.5
    """
    if monitor not in metrics:
        near = difflib.get_close_matches(monitor, metrics, n=len(metrics) or 1, cutoff=0.0)
        there = f"There are {', '.join(map(repr, near))}; give one of these" if near else "There are none; return or log one"
        raise SettingError(f"monitor={monitor!r}: the evaluation gives no such metric. {there}.")
    value = metrics[monitor]
    if isinstance(value, Tensor) and value.numel() == 1:
        value = value.item()
    if not isinstance(value, Real):
        shape = f" of shape {tuple(value.shape)}" if isinstance(value, Tensor) else ""
        raise SettingError(
            f"monitor={monitor!r}: the metric should be a single number, got a value of type {type(value).__name__}{shape}. "
            "Monitor one that is, such as its mean."
        )
    return float(value)
