"""Metrics of torchmetrics that keep what they are fed in lists, where a process had nothing to feed: empty parts instead."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

Kinds: TypeAlias = dict[str, tuple[torch.dtype, tuple[int, ...]]]
"""Of each list, the type of its tensors and their shape without the samples."""


def kinds_of_lists(metric: Any) -> Kinds:
    """Returns what the lists of a metric hold, and of those inside it; nothing of those that are empty.

    Example:
        >>> import torch
        >>> from torchmetrics.aggregation import CatMetric
        >>> metric = CatMetric()
        >>> metric.update(torch.ones(3))
        >>> kinds_of_lists(metric)
        {'value': (torch.float32, ())}
    """
    return {
        key: (state[0].dtype, tuple(state[0].shape[1:]))
        for key, _, _, state in _lists(metric)
        if state and isinstance(state[0], Tensor)
    }


def fill_lists(metric: Any, kinds: Mapping[str, tuple[torch.dtype, tuple[int, ...]]]) -> None:
    """Puts a tensor of no samples into each list that is empty: processes can gather only what is of one type and rank.

    torchmetrics does so too, with one of floats in one dimension, whatever the others have: gloo then ends the process.

    Args:
        metric: that was not fed in this process.
        kinds: what its lists hold in a process in which it was.
    """
    for key, part, name, state in _lists(metric):
        if not state and key in kinds:
            dtype, shape = kinds[key]
            setattr(part, name, [torch.empty((0, *shape), dtype=dtype, device=part.device)])


def _lists(metric: Any) -> Iterator[tuple[str, Any, str, list[Any]]]:
    """Yields each list, also those of metrics inside: a key, the metric that has it, the name of its attribute, and the list."""
    members = metric.named_modules() if isinstance(metric, nn.Module) else [("", metric)]
    for member, part in members:
        for name, state in getattr(part, "metric_state", {}).items():
            if isinstance(state, list):
                yield f"{member}.{name}".strip("."), part, name, state
