"""Metrics on a bare engine: Ignite's, which attach themselves, and torchmetrics, or anything with update, compute and reset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from framework.engine.engine import Engine
from framework.engine.events import Events
from framework.metrics.metric_set import MetricSet


def attach_metrics(engine: Engine, metrics: Mapping[str, Any], device: str | torch.device | None = None) -> None:
    """Feeds metrics with the outputs of an engine; after each epoch the results are in `state.metrics`.

    Args:
        engine: whose process function returns (y_pred, y).
        metrics: by name, objects with `attach(engine, name)`, as Ignite's, or with `update(y_pred, y)`, `compute()` and
            `reset()`, as torchmetrics.
        device: where those of the second kind are moved, if they can move.

    Raises:
        TypeError: an object that is neither.

    Example:
        >>> import torch
        >>> from torchmetrics.classification import MulticlassAccuracy
        >>> from framework import Engine, attach_metrics
        >>> evaluator = Engine(lambda engine, batch: batch)
        >>> attach_metrics(evaluator, {"accuracy": MulticlassAccuracy(num_classes=2, average="micro")})
        >>> evaluator.run([(torch.tensor([0, 1]), torch.tensor([0, 1])), (torch.tensor([0, 1]), torch.tensor([1, 1]))]).metrics
        {'accuracy': 0.75}
    """
    fed = {}
    for name, metric in metrics.items():
        if hasattr(metric, "attach") and not isinstance(metric, type):
            metric.attach(engine, name)
        else:
            fed[name] = metric
    if fed:
        metric_set = MetricSet(fed, None if device is None else torch.device(device))
        engine.add_event_handler(Events.EPOCH_STARTED, metric_set.reset)
        engine.add_event_handler(Events.ITERATION_COMPLETED, _update, metric_set)
        engine.add_event_handler(Events.EPOCH_COMPLETED, _compute, metric_set)


def _update(engine: Engine, metrics: MetricSet) -> None:
    output = engine.state.output
    if not isinstance(output, tuple | list) or len(output) != 2:
        raise TypeError(
            f"The metrics {', '.join(map(repr, metrics))} are fed with the output of the engine, which should be (y_pred, y); got "
            f"{type(output).__name__}{f' of length {len(output)}' if isinstance(output, tuple | list) else ''}. Let the process "
            "function, or output_transform, return such a pair."
        )
    metrics.update(output)


def _compute(engine: Engine, metrics: MetricSet) -> None:
    engine.state.metrics.update(metrics.compute())
