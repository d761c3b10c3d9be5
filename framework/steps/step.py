"""What every training step has: its place in a window of micro-batches, its count of steps, its observer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from torch.optim import Optimizer

from framework.backends.base import Backend
from framework.backends.report import StepObserver
from framework.steps.counter import StepCounter


class Place(NamedTuple):
    """Where a micro-batch stands in its window: the micro-batches whose gradients are added up for one step.

    Attributes:
        first, last: it opens, it closes the window.
        size: micro-batches in the window.
    """

    first: bool
    last: bool
    size: int


ALONE = Place(first=True, last=True, size=1)


class Step(ABC):
    """Turns a micro-batch into gradients, and where a window ends, into steps of the optimizers.

    Args:
        backend: supplies the verbs.
        optimizers: by name.
        place: takes the engine, tells where the micro-batch at hand stands in its window; None where each is a window of its own.
        on_stepped: called with the name of each optimizer that really stepped.

    Attributes:
        counter: the steps each optimizer really made.
        observer: is told what happens inside; None for nobody.
    """

    def __init__(
        self,
        backend: Backend,
        optimizers: Mapping[str, Optimizer],
        place: Callable[[Any], Place] | None = None,
        on_stepped: Callable[[str], None] | None = None,
    ) -> None:
        self.counter = StepCounter(optimizers, on_stepped)
        self.observer: StepObserver | None = None
        self._backend = backend
        self._place = place

    @abstractmethod
    def run(self, engine: Any, batch: Any) -> Any:
        """Takes one micro-batch and returns the output of the iteration."""

    @abstractmethod
    def finish_window(self) -> None:
        """Steps with the gradients gathered so far, in a window that ends before its time."""

    def watching(self) -> StepObserver | None:
        """Returns the observer, if it wants to be told anything now."""
        observer = self.observer
        return observer if observer is not None and observer.active else None
