"""Batches and outputs as trees: tensors inside tuples, lists and mappings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


def map_tensors(tree: Any, function: Callable[[Tensor], Any]) -> Any:
    """Returns `tree` with `function` applied to each tensor; other leaves stay.

    Tuples, named tuples, lists and mappings keep their type. An object with a `to` method counts as a tensor.
    """
    if isinstance(tree, Tensor) or hasattr(tree, "to"):
        return function(tree)
    if isinstance(tree, Mapping):
        mapped = {key: map_tensors(value, function) for key, value in tree.items()}
        return mapped if type(tree) is dict else type(tree)(mapped)  # type: ignore[call-arg]
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(map_tensors(item, function) for item in tree))
    if isinstance(tree, tuple | list):
        return type(tree)(map_tensors(item, function) for item in tree)
    return tree


def count_samples(batch: Any) -> int:
    """Returns the number of samples in a batch: the first dimension of its first tensor, 1 where there is none."""
    if type(batch) in (tuple, list) and batch and type(batch[0]) is Tensor and batch[0].dim():
        return batch[0].size(0)  # the usual (x, y, ...), each step
    while not isinstance(batch, Tensor):
        if isinstance(batch, Mapping):
            batch = next(iter(batch.values()), None)
        elif isinstance(batch, tuple | list) and batch:
            batch = batch[0]
        else:
            return 1
    return batch.shape[0] if batch.dim() else 1


def join_trees(trees: Sequence[Any]) -> Any:
    """Joins the outputs of several batches into one, along the first dimension.

    Tensors are concatenated (scalars stacked), containers joined item by item, other leaves collected in a list.
    """
    first = trees[0]
    if isinstance(first, Tensor):
        return torch.cat(list(trees)) if first.dim() else torch.stack(list(trees))
    if isinstance(first, Mapping):
        return {key: join_trees([tree[key] for tree in trees]) for key in first}
    if isinstance(first, tuple) and hasattr(first, "_fields"):
        return type(first)(*(join_trees(items) for items in zip(*trees, strict=True)))
    if isinstance(first, tuple | list):
        return type(first)(join_trees(items) for items in zip(*trees, strict=True))
    return list(trees)
