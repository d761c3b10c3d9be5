"""Gradient accumulation: which micro-batches make up one optimizer step."""

from __future__ import annotations

from framework.steps.step import Place


class EpochWindow:
    """Windows of up to `size` micro-batches that start anew with each epoch; the last one is as short as the epoch leaves it.

    Args:
        accumulate: micro-batches a window.

    Attributes:
        taken: micro-batches in the open window, 0 when none is open.
        size: micro-batches that the open window is meant to have.
        left: micro-batches still to come in this epoch, None where that is unknown.
    """

    def __init__(self, accumulate: int) -> None:
        self._accumulate = accumulate
        self.left: int | None = None
        self.taken = 0
        self.size = accumulate

    def begin_epoch(self, iterations: int | None) -> None:
        """Starts anew, with `iterations` to come in this epoch; None where that is unknown."""
        self.left, self.taken = iterations, 0

    def __call__(self, engine: object = None) -> Place:
        """Returns the place of the next micro-batch."""
        if self.taken == 0:
            self.size = self._accumulate if self.left is None else min(self._accumulate, self.left)
        self.taken += 1
        if self.left is not None:
            self.left -= 1
        place = Place(self.taken == 1, self.taken == self.size, self.size)
        if place.last:
            self.taken = 0
        return place
