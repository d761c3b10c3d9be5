"""The values recorded under one name, until their mean is a point of a curve."""

from __future__ import annotations

from typing import Any, TypeAlias

import torch
from torch import Tensor

Sums: TypeAlias = tuple[float, float]
"""A weighted sum of values, and the sum of their weights."""


class Channel:
    """The values recorded under one name: those since the last point of the curve, and the weighted sum of the others."""

    __slots__ = ("seen", "total", "values", "weight", "weights")

    def __init__(self) -> None:
        self.values: list[Any] = []
        self.weights: list[Any] = []
        self.seen = 0  # how many of the values have been read
        self.total = 0.0
        self.weight = 0.0

    def read(self) -> list[float]:
        """Reads the values and their weights where they lie; returns those that had not been read."""
        self.values[:], self.weights[:] = _read(self.values), _read(self.weights)  # the lists stay: steps hold their append
        new = self.values[self.seen :]
        self.seen = len(self.values)
        return new

    def set(self, values: list[float], weights: list[float]) -> None:
        """Takes values that were read already, in the place of its own."""
        self.values[:], self.weights[:] = values, weights  # the lists stay: steps hold their append
        self.seen = len(values)

    def take(self) -> Sums:
        """Returns the weighted sum of the read values and the sum of their weights, and forgets them."""
        total = sum(value * n for value, n in zip(self.values, self.weights, strict=True) if n)
        sums = total, sum(self.weights)
        self.values.clear()
        self.weights.clear()
        self.seen = 0
        return sums

    def add(self, sums: Sums) -> float | None:
        """Adds sums to those since `clear`; returns their mean, None where they have no weight."""
        total, weight = sums
        self.total += total
        self.weight += weight
        return total / weight if weight else None


def _read(items: list[Any]) -> list[float]:
    """Returns numbers, reading those that lie on a device in one go."""
    tensors = [item for item in items if isinstance(item, Tensor)]
    if tensors and tensors[0].device.type == "xla":
        tensors = [tensor.cpu() for tensor in tensors]  # stacked there, each number of them would be compiled anew
    read = iter(torch.stack(tensors).tolist() if tensors else ())
    return [float(next(read)) if isinstance(item, Tensor) else item for item in items]
