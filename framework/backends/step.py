"""The one training step: forward, backward, and at the end of a window of micro-batches, the optimizers' step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from torch import Tensor
from torch.optim import Optimizer

from framework.backends.base import Backend, Clip, StepObserver, parameters_of


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


class TrainingStep:
    """Computes a loss, its gradients, and steps the optimizers where a window ends.

    Args:
        backend: supplies the verbs.
        optimizers: by name; stepped together, in this order.
        forward: takes (engine, batch), returns (loss, anything else); runs in the backend's precision.
        place: takes the engine, tells where the micro-batch at hand stands in its window; None where each is a window of its own.
        clip: limits of the gradients.
        on_stepped: called after the optimizers really stepped.

    Attributes:
        steps: by optimizer name, the steps it really made.
        observer: is told what happens inside; None for nobody.
    """

    def __init__(
        self,
        backend: Backend,
        optimizers: Mapping[str, Optimizer],
        forward: Callable[[Any, Any], tuple[Tensor, Any]],
        *,
        place: Callable[[Any], Place] | None = None,
        clip: Clip | None = None,
        on_stepped: Callable[[], None] | None = None,
    ) -> None:
        self.steps = dict.fromkeys(optimizers, 0)
        self._backend = backend
        self._optimizers = tuple(optimizers.values())
        self._forward = backend.autocast(forward)
        self._place = place
        self._clip = clip
        self.observer: StepObserver | None = None
        self._on_stepped = on_stepped

    def run(self, engine: Any, batch: Any) -> Any:
        """Takes one micro-batch; returns what `forward` returned beside the loss."""
        first, last, size = ALONE if self._place is None else self._place(engine)
        backend, observer = self._backend, self.observer
        if observer is not None and not observer.active:
            observer = None
        if first:
            for optimizer in self._optimizers:
                optimizer.zero_grad()  # without arguments: Apex's optimizers take none
        loss, rest = self._forward(engine, batch)
        if observer is not None:
            observer.loss_computed(loss)
        if size != 1:
            loss = loss / size
        if backend.backward is None:
            loss.backward()  # type: ignore[no-untyped-call]
        else:
            backend.backward(loss)
        if observer is not None:
            observer.backward_completed()
        if last:
            self.finish_window(observer)
        if backend.mark_step is not None:
            backend.mark_step()
        return rest

    def finish_window(self, observer: StepObserver | None = None) -> None:
        """Steps the optimizers with the gradients gathered."""
        if self._backend.apply(self._optimizers, self._clip, observer):
            for name in self.steps:
                self.steps[name] += 1
            if self._on_stepped is not None:
                self._on_stepped()

    def finish_short_window(self, size: int, taken: int) -> None:
        """Steps with the gradients of a window that ended early: each was divided by `size`, `taken` is their number."""
        for parameter in parameters_of(self._optimizers):
            if parameter.grad is not None:
                parameter.grad.mul_(size / taken)
        observer = self.observer if self.observer is not None and self.observer.active else None
        self.finish_window(observer)
