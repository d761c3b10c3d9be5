"""One update in the making: gradients gathered over a window, then a step of the optimizers they are for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from framework.backends.base import Backend
from framework.backends.clip import Clip
from framework.backends.ownership import parameters_of
from framework.backends.report import StepObserver
from framework.errors import StepError
from framework.steps.counter import StepCounter

_NOTHING = (
    "training_step returned {'loss': sum, 'n': 0} for every batch of an optimizer step, which leaves nothing to take the mean of. "
    "Leave such batches out of the data."
)


def _unit_of(count: float | Tensor) -> float | Tensor:
    """Returns the count, but 1 for 0, so that it can be divided by."""
    return torch.where(count == 0, 1.0, count) if isinstance(count, Tensor) else count or 1.0


@dataclass(frozen=True, slots=True)
class SummedLoss:
    """A loss that is a sum over `count` things, such as tokens: a window's gradient is that of all sums over all counts.

    Attributes:
        total: the sum, a scalar with gradients.
        count: how many things it is summed over; a number or a scalar tensor, of at least 0.
    """

    total: Tensor
    count: float | Tensor

    def mean(self) -> Tensor:
        """Returns the loss of one thing; 0 where there is none."""
        return self.total / _unit_of(self.count)


def weighed(loss: Tensor | SummedLoss, weight: float) -> Tensor | SummedLoss:
    """Returns a loss as it counts in the mean over processes. A sum is weighed by its count; it counts unless `weight` is 0."""
    if not isinstance(loss, SummedLoss):
        return loss * weight
    return SummedLoss(loss.total * 0.0, loss.count * 0.0) if weight == 0.0 else loss


class Update:
    """Gathers the gradients of a window and steps one group of optimizers with them.

    Each loss is divided by what the whole window is expected to hold; if it turns out to hold something else, the gradients are
    corrected before the step.

    Args:
        backend: supplies the verbs.
        optimizers: by name, stepped in this order, clipped together.
        clip: limits of the gradients.
        counter: is told of each step.
    """

    def __init__(self, backend: Backend, optimizers: Mapping[str, Optimizer], clip: Clip | None, counter: StepCounter) -> None:
        self.names = tuple(optimizers)
        self.optimizers = tuple(optimizers.values())
        self._backend = backend
        self._clip = clip
        self._counter = counter
        self._unit: float | Tensor | None = None  # what the first micro-batch of the window counts: 1, or its `count`
        self._size = 1
        self._whole = False  # all that the window holds went through this object
        self._held: float | Tensor = 0
        self._summed = False
        self._kept: nn.Parameter | None = None  # one that has gradients where any has
        self._gathered = False  # a micro-batch of the window has given gradients; a loss need not depend on any parameter

    @property
    def is_open(self) -> bool:
        """Whether gradients were gathered since the last step."""
        return self._unit is not None

    def open(self) -> None:
        """Begins a window."""
        for optimizer in self.optimizers:
            optimizer.zero_grad()  # without arguments: Apex's optimizers take none
        self._unit, self._held, self._whole = None, 0, True

    def backward(
        self,
        loss: Tensor | SummedLoss,
        size: int,
        observer: StepObserver | None,
        parameters: list[nn.Parameter] | None = None,
    ) -> bool:
        """Adds the gradients of one micro-batch.

        Args:
            loss: of the micro-batch.
            size: micro-batches that the window is expected to hold.
            observer: is told of it.
            parameters: to compute gradients for; None for all that the loss reaches.

        Returns:
            True; an update that is guarded may refuse.
        """
        if observer is not None:
            observer.loss_computed(loss.total if isinstance(loss, SummedLoss) else loss)
        share = self._share(loss, size)
        if self._backend.backward is not None:
            self._backend.backward(share, self.optimizers, parameters)
        else:
            share.backward(inputs=parameters)  # type: ignore[no-untyped-call]
        if size != 1:
            self._gathered = self._gathered or self._holds_gradients()
        if observer is not None:
            observer.backward_completed()
        return True

    def finish(self, observer: StepObserver | None, *, ends_window: bool = True) -> None:
        """Steps the optimizers."""
        if self._size != 1 and self._whole:
            self._correct()
        reports = self._backend.apply(self.optimizers, self._clip, observer, ends_window=ends_window)
        self._unit, self._whole = None, False
        for name, report in zip(self.names, reports, strict=True):
            self._counter.note(name, report)

    def drop(self) -> None:
        """Forgets the gradients gathered, without a step."""
        self.open()
        self._whole = False

    def _share(self, loss: Tensor | SummedLoss, size: int) -> Tensor:
        weight = self._backend.weight
        if weight != 1.0:
            loss = weighed(loss, weight)
        if size == 1 and not isinstance(loss, SummedLoss):
            self._unit, self._size = 1, 1
            return loss  # the usual case
        summed = isinstance(loss, SummedLoss)
        if self._unit is None:
            self._unit, self._size, self._summed = self._first_unit(loss, size) if isinstance(loss, SummedLoss) else 1, size, summed
            self._gathered = False
        elif summed != self._summed:
            raise StepError(
                "training_step returned {'loss': sum, 'n': count} for some batches of a window of accumulation and a mean loss for "
                "others, which cannot be weighed against each other. Return one kind."
            )
        elif self._gathered:
            self._refuse_cleared()
        if isinstance(loss, SummedLoss):
            self._held = self._held + loss.count
            return loss.total / (self._unit * size)
        self._held += 1
        return loss if size == 1 else loss / size

    def _first_unit(self, loss: SummedLoss, size: int) -> float | Tensor:
        """Returns what the first micro-batch of a window counts, the mean over processes: all divide by the same."""
        count = self._over_processes(loss.count)
        if size == 1 and not isinstance(count, Tensor) and count == 0:
            raise StepError(_NOTHING)
        return _unit_of(count)

    def _over_processes(self, count: float | Tensor) -> float | Tensor:
        return count if self._backend.average is None else self._backend.average(count)

    def _refuse_cleared(self) -> None:
        """Refuses to go on with a window whose gradients somebody else has cleared: those of its last micro-batch would be left."""
        if not self._holds_gradients():
            raise StepError(
                "The gradients gathered in a window of accumulation were gone before it ended: training_step or a hook has called "
                "zero_grad(). Leave it out; gradients are cleared where a window begins."
            )

    def _holds_gradients(self) -> bool:
        if self._kept is None or self._kept.grad is None:
            self._kept = next((parameter for parameter in parameters_of(self.optimizers) if parameter.grad is not None), None)
        return self._kept is not None

    def _correct(self) -> None:
        """Multiplies the gradients by what the window was expected to hold over what it held, where that is not the same."""
        if self._unit is None:
            return
        expected = self._unit * self._size
        held = self._over_processes(self._held) if self._summed else self._held
        if not isinstance(expected, Tensor) and not isinstance(held, Tensor) and expected == held:
            return
        if not isinstance(held, Tensor) and held == 0:
            raise StepError(_NOTHING)
        factor = expected / _unit_of(held)
        for parameter in parameters_of(self.optimizers):
            if parameter.grad is not None:
                parameter.grad.mul_(factor)
