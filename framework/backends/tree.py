"""Batches and outputs as trees: tensors inside tuples, lists and mappings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from copy import copy
from typing import Any

import torch
from torch import Tensor

from framework.errors import DataError


def map_tensors(tree: Any, function: Callable[[Tensor], Any]) -> Any:
    """Returns `tree` with `function` applied to each tensor; other leaves stay.

    Tuples, named tuples, lists and mutable mappings keep their type, other mappings become a dict. An object with a `to` method
    counts as a tensor.
    """
    if isinstance(tree, Tensor) or hasattr(tree, "to"):
        return function(tree)
    if isinstance(tree, Mapping):
        mapped = {key: map_tensors(value, function) for key, value in tree.items()}
        if type(tree) is dict or not isinstance(tree, MutableMapping):
            return mapped
        same = copy(tree)  # with what it has beside its items, such as a default factory
        same.update(mapped)
        return same
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(map_tensors(item, function) for item in tree))
    if isinstance(tree, tuple | list):
        return type(tree)(map_tensors(item, function) for item in tree)
    return tree


def tensors_in(tree: Any) -> Iterator[Tensor]:
    """Yields the tensors inside tuples, lists and mappings."""
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, Mapping | tuple | list):
        for item in tree.values() if isinstance(tree, Mapping) else tree:
            yield from tensors_in(item)


def count_samples(batch: Any) -> int:
    """Returns the number of samples in a batch: the first dimension of its first tensor, 1 where there is none.

    Raises:
        DataError: the batch is an exception.
    """
    if type(batch) in (tuple, list) and batch and type(batch[0]) is Tensor and batch[0].dim():
        return batch[0].size(0)  # the usual (x, y, ...), each step
    first = next(tensors_in(batch), None)
    if first is not None:
        return first.size(0) if first.dim() else 1  # a nested tensor has no shape
    if isinstance(batch, BaseException):
        raise DataError(f"A batch is the exception {batch!r}: something returned or yielded it. Raise it there instead.")
    return 1


def join_trees(trees: Sequence[Any]) -> Any:
    """Joins the outputs of several batches into one, along the first dimension.

    Tensors and numpy arrays are concatenated (scalars stacked), tuples and mappings joined item by item, lists put one after the
    other: they hold samples. Other leaves are collected in a list.
    """
    first = trees[0]
    if hasattr(first, "__array__") and not isinstance(first, Tensor):
        import numpy  # whoever predicts arrays has it

        return numpy.concatenate(trees) if first.ndim else numpy.stack(trees)
    if isinstance(first, Tensor):
        return torch.cat(list(trees)) if first.dim() else torch.stack(list(trees))
    if isinstance(first, Mapping):
        return {key: join_trees([tree[key] for tree in trees]) for key in first}
    if isinstance(first, tuple) and hasattr(first, "_fields"):
        return type(first)(*(join_trees(items) for items in zip(*trees, strict=True)))
    if isinstance(first, tuple):
        return tuple(join_trees(items) for items in zip(*trees, strict=True))
    if isinstance(first, list):
        return [sample for tree in trees for sample in tree]
    return list(trees)
