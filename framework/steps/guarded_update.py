"""An update that is left out where its losses or gradients are not fit to step with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeAlias

from torch import Tensor, nn
from torch.optim import Optimizer

from framework.backends.base import Backend
from framework.backends.clip import Clip
from framework.backends.report import StepObserver
from framework.steps.counter import StepCounter
from framework.steps.update import SummedLoss, Update


class Guard(Protocol):
    """Judges losses and gradients, and is told of each step that is made, and that is not to be. It may raise at each.

    Processes that train together judge together: `refuse_elsewhere` tells a guard that takes its own "loss" or
    "gradients" of another one that does not.

    Attributes:
        judges_gradients: ask about the gradients of each step; else a gradient scaler judges them.
        judges_each_backward: ask about them after each backward pass too.
    """

    judges_gradients: bool
    judges_each_backward: bool

    def takes_loss(self, names: tuple[str, ...], loss: Tensor | SummedLoss) -> bool: ...
    def takes_gradients(self, names: tuple[str, ...], optimizers: Sequence[Optimizer]) -> bool: ...
    def refuse_elsewhere(self, names: tuple[str, ...], what: str) -> None: ...
    def note_step(self, names: tuple[str, ...]) -> None: ...
    def note_left_out(self, names: tuple[str, ...]) -> None: ...


class GuardedUpdate:
    """An `Update` that asks a guard. One loss that it does not take spoils the window: no optimizer steps where it ends.

    The gradients of a step are judged when they are reduced and the hooks of `optimizer_step_started` have seen them, before they
    are clipped.

    Args:
        update: gathers and steps.
        guard: is asked.
        average: gives the mean of a number over processes, which take a loss together or not at all; None for one process.
    """

    def __init__(self, update: Update, guard: Guard, average: Callable[[float], float] | None = None) -> None:
        self.names = update.names
        self.optimizers = update.optimizers
        self._update = update
        self._guard = guard
        self._average = average
        self._spoiled = False

    @property
    def is_open(self) -> bool:
        """Whether gradients were gathered, or refused, since the last step."""
        return self._spoiled or self._update.is_open

    def open(self) -> None:
        """Begins a window."""
        self._spoiled = False
        self._update.open()

    def backward(
        self,
        loss: Tensor | SummedLoss,
        size: int,
        observer: StepObserver | None,
        parameters: list[nn.Parameter] | None = None,
    ) -> bool:
        """Adds the gradients of one micro-batch, unless the window is spoiled; returns whether it did. See `Update.backward`."""
        takes = self._agreed(self._guard.takes_loss(self.names, loss), "loss")
        if self._spoiled:
            return False
        if not takes:
            self._spoil()
            return False
        self._update.backward(loss, size, observer, parameters)
        judges = self._guard.judges_gradients and self._guard.judges_each_backward
        if judges and not self._agreed(self._takes_gradients(), "gradients"):
            self._spoil()
        return True

    def finish(self, observer: StepObserver | None, *, ends_window: bool = True) -> None:
        """Steps the optimizers, or forgets the gradients of a window that is spoiled."""
        if not self._spoiled:
            asking = _Asking(self._takes_gradients, self.optimizers[-1], observer) if self._guard.judges_gradients else observer
            try:
                self._update.finish(asking, ends_window=ends_window)
            except _Refused:
                self._spoil()
        if self._spoiled:
            self._spoiled = False
            self._update.drop()
        else:
            self._guard.note_step(self.names)

    def _takes_gradients(self) -> bool:
        return self._guard.takes_gradients(self.names, self.optimizers)

    def _agreed(self, takes: bool, what: str) -> bool:
        """Returns whether all processes take their loss or gradients. Reduced gradients need it not: they are the same on all."""
        if self._average is None:
            return takes
        all_take = self._average(float(takes)) == 1.0
        if takes and not all_take:
            self._guard.refuse_elsewhere(self.names, what)
        return all_take

    def _spoil(self) -> None:
        self._spoiled = True
        self._guard.note_left_out(self.names)


AnyUpdate: TypeAlias = Update | GuardedUpdate


def make_update(
    backend: Backend, optimizers: Mapping[str, Optimizer], clip: Clip | None, counter: StepCounter, guard: Guard | None
) -> AnyUpdate:
    """Returns an `Update`, guarded where there is a guard."""
    update = Update(backend, optimizers, clip, counter)
    return update if guard is None else GuardedUpdate(update, guard, backend.average)


class _Refused(Exception):  # noqa: N818  # it is no error
    """The gradients are not fit to step with."""


class _Asking:
    """Passes on what it is told of a step, and asks when all gradients have been shown.

    Args:
        takes: whether the gradients are fit to step with.
        last: the optimizer whose gradients are shown last.
        observer: is told; None for nobody.
    """

    active = True

    def __init__(self, takes: Callable[[], bool], last: Optimizer, observer: StepObserver | None) -> None:
        self._takes = takes
        self._last = last
        self._observer = observer

    def loss_computed(self, loss: Tensor) -> None:
        """Is not called: a step begins after the backward pass."""

    def backward_completed(self) -> None:
        """Is not called: a step begins after the backward pass."""

    def optimizer_step_started(self, optimizer: Optimizer) -> None:
        if self._observer is not None:
            self._observer.optimizer_step_started(optimizer)
        if optimizer is self._last and not self._takes():
            raise _Refused

    def optimizer_step_completed(self, optimizer: Optimizer) -> None:
        if self._observer is not None:
            self._observer.optimizer_step_completed(optimizer)
