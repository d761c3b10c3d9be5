"""The step of one returned loss: forward, backward, and where a window ends, a step of all optimizers together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from framework.backends.base import Backend
from framework.backends.clip import Clip
from framework.backends.report import StepObserver
from framework.steps.guarded_update import Guard, make_update
from framework.steps.step import ALONE, Place, Step
from framework.steps.update import SummedLoss


class ReturnedLoss(Step):
    """Computes a loss, its gradients, and steps the optimizers where a window ends.

    Args:
        backend: supplies the verbs.
        optimizers: by name; stepped together, in this order.
        forward: takes (engine, batch), returns (loss, the output of the iteration); runs in the backend's precision.
        place: see `Step`.
        clip: limits of the gradients.
        on_stepped: see `Step`.
        guard: judges loss and gradients; None takes all.
    """

    def __init__(
        self,
        backend: Backend,
        optimizers: Mapping[str, Optimizer],
        forward: Callable[[Any, Any], tuple[Tensor | SummedLoss, Any]],
        *,
        place: Callable[[Any], Place] | None = None,
        clip: Clip | None = None,
        on_stepped: Callable[[str], None] | None = None,
        guard: Guard | None = None,
    ) -> None:
        super().__init__(backend, optimizers, place, on_stepped)
        self._update = make_update(backend, optimizers, clip, self.counter, guard)
        self._forward = backend.autocast(forward)

    def run(self, engine: Any, batch: Any) -> Any:
        first, last, size = ALONE if self._place is None else self._place(engine)
        observer, micro = self.watching(), self._backend.micro
        if first:
            self._update.open()
        if micro is None:
            output = self._gather(engine, batch, size, observer)
        else:
            with micro(last):
                output = self._gather(engine, batch, size, observer)
        if last:
            self._update.finish(observer)
        if self._backend.mark_step is not None:
            self._backend.mark_step()
        return output

    def finish_window(self) -> None:
        self._update.finish(self.watching())

    def _gather(self, engine: Any, batch: Any, size: int, observer: StepObserver | None) -> Any:
        loss, output = self._forward(engine, batch)
        self._update.backward(loss, size, observer)
        return output
