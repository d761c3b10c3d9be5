"""The step of an optimizer that computes the loss several times, such as LBFGS."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from framework.backends.base import Backend
from framework.backends.clip import Clip
from framework.steps.guarded_update import Guard, make_update
from framework.steps.step import Step
from framework.steps.update import SummedLoss, weighed


class ClosureStep(Step):
    """Lets one optimizer call the forward and backward pass as often as it likes.

    Args:
        backend: supplies the verbs.
        optimizers: exactly one, by name.
        forward: takes (engine, batch), returns (loss, the output of the iteration).
        again: makes the context of every call of a step but the first, whose output alone counts.
        clip: limits of the gradients, after each call.
        on_stepped: see `Step`.
        guard: judges loss and gradients of each call, and raises where it does not take them; None takes all.
    """

    def __init__(
        self,
        backend: Backend,
        optimizers: Mapping[str, Optimizer],
        forward: Callable[[Any, Any], tuple[Tensor | SummedLoss, Any]],
        again: Callable[[], AbstractContextManager[Any]],
        *,
        clip: Clip | None = None,
        on_stepped: Callable[[str], None] | None = None,
        guard: Guard | None = None,
    ) -> None:
        super().__init__(backend, optimizers, None, on_stepped)
        ((self._name, self._optimizer),) = optimizers.items()
        self._update = make_update(backend, optimizers, clip, self.counter, guard)
        self._forward = backend.autocast(forward)
        self._again = again
        self._clip = clip

    def run(self, engine: Any, batch: Any) -> Any:
        observer = self.watching()
        outputs: list[Any] = []

        def closure() -> Tensor:
            micro = nullcontext() if self._backend.micro is None else self._backend.micro(True)
            with self._again() if outputs else nullcontext(), micro:
                self._update.open()
                loss, output = self._forward(engine, batch)
                outputs.append(output)
                self._update.backward(loss, 1, observer)
            return self._value(loss)

        report = self._backend.apply_closure(self._optimizer, closure, self._clip, observer)
        self.counter.note(self._name, report)
        if self._backend.mark_step is not None:
            self._backend.mark_step()
        return outputs[0]

    def finish_window(self) -> None:
        """Does nothing: each step is a window of its own."""

    def _value(self, loss: Tensor | SummedLoss) -> Tensor:
        """Returns what the optimizer goes by: the mean over processes, without which each would take another step."""
        average = self._backend.average
        if average is None:
            return (loss.mean() if isinstance(loss, SummedLoss) else loss).detach()
        loss = weighed(loss, self._backend.weight)
        if isinstance(loss, SummedLoss):
            return SummedLoss(average(loss.total.detach()), average(loss.count)).mean()
        mean: Tensor = average(loss.detach())
        return mean
