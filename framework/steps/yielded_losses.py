"""The step of several losses, each for an optimizer of its own: GANs, actor and critic."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import Any, TypeAlias

from torch import Tensor, nn
from torch.optim import Optimizer

from framework.backends.base import Backend
from framework.backends.clip import Clip
from framework.backends.ownership import parameters_of
from framework.errors import StepError
from framework.steps.guarded_update import AnyUpdate, Guard, make_update
from framework.steps.step import ALONE, Place, Step
from framework.steps.update import SummedLoss

Losses: TypeAlias = Generator[tuple[tuple[str, ...], Tensor | SummedLoss], None, Any]


class YieldedLosses(Step):
    """Takes losses one by one from a generator: each is one backward, for the parameters of its optimizers, and a step of them.

    With a window of several micro-batches each loss adds to the gradients of its optimizers, which step where the window ends. An
    optimizer that no loss was yielded for does not step.

    Args:
        backend: supplies the verbs.
        optimizers: by name.
        losses: takes (engine, batch), yields (names of optimizers, loss), returns the output of the iteration; what lies between
            two yields runs in the backend's precision.
        place: see `Step`.
        clip: limits of the gradients of each loss.
        on_stepped: see `Step`.
        guard: judges each loss and its gradients, which is left out alone where it is not taken; None takes all.
    """

    def __init__(
        self,
        backend: Backend,
        optimizers: Mapping[str, Optimizer],
        losses: Callable[[Any, Any], Losses],
        *,
        place: Callable[[Any], Place] | None = None,
        clip: Clip | None = None,
        on_stepped: Callable[[str], None] | None = None,
        guard: Guard | None = None,
    ) -> None:
        super().__init__(backend, optimizers, place, on_stepped)
        self._optimizers = optimizers
        self._losses = losses
        self._next = backend.autocast(_next_of)
        self._clip = clip
        self._guard = guard
        self._updates: dict[tuple[str, ...], AnyUpdate] = {}
        self._owners: dict[str, AnyUpdate] = {}  # of the open window
        self._stepped: set[str] = set()  # since the scaler was updated

    def run(self, engine: Any, batch: Any) -> Any:
        first, last, size = ALONE if self._place is None else self._place(engine)
        if first:
            self._owners.clear()
        if self._backend.micro is None:
            output = self._take_all(engine, batch, last, size)
        else:
            with self._backend.micro(last):
                output = self._take_all(engine, batch, last, size)
        if last:
            self.finish_window()
        if self._backend.mark_step is not None:
            self._backend.mark_step()
        return output

    def _take_all(self, engine: Any, batch: Any, last: bool, size: int) -> Any:
        losses = self._losses(engine, batch)
        seen: set[str] = set()
        try:
            while True:
                try:
                    names, loss = self._next(losses)
                except StopIteration as end:
                    return end.value
                if self._place is not None and not seen.isdisjoint(names):
                    raise StepError(
                        f"training_step yielded two losses for {_text(names)} in a batch, which accumulate > 1 cannot tell apart. "
                        "Yield one for each optimizer, or leave accumulate out."
                    )
                seen.update(names)
                self._take(self._update_of(names), loss, last, size)
        finally:
            losses.close()

    def finish_window(self) -> None:
        """Steps the optimizers that still have gradients, and updates the scaler."""
        for update in dict.fromkeys(self._owners.values()):
            if update.is_open:
                self._finish(update)
        self._owners.clear()
        self._end_window()

    def _take(self, update: AnyUpdate, loss: Tensor | SummedLoss, last: bool, size: int) -> None:
        if not update.is_open:
            if not self._stepped.isdisjoint(update.names):  # a second step in one window: the scaler has to know of the first
                self._end_window()
            update.open()
        parameters = _trainable(update)
        fresh = all(parameter.grad is None for parameter in parameters)
        try:
            gathered = update.backward(loss, size, self.watching(), parameters)
        except RuntimeError as error:
            if "inplace operation" in str(error):
                error.add_note(
                    "Each yield steps its optimizer, which changes weights: compute a loss after the yield before it, not ahead."
                )
            raise
        if gathered and fresh and all(parameter.grad is None for parameter in parameters):
            raise StepError(
                f"The loss that training_step yielded for {_text(update.names)} depends on none of that optimizer's parameters. "
                "Yield (name, loss) with the name under which configure_optimizers returned it; look for .detach() and no_grad()."
            )
        if last:
            self._finish(update)

    def _finish(self, update: AnyUpdate) -> None:
        update.finish(self.watching(), ends_window=False)
        self._stepped.update(update.names)

    def _end_window(self) -> None:
        if self._stepped and self._backend.end_window is not None:
            self._backend.end_window()
        self._stepped.clear()

    def _update_of(self, names: tuple[str, ...]) -> AnyUpdate:
        update = self._updates.get(names)
        if update is None:
            optimizers = {name: self._optimizers[name] for name in names}
            update = make_update(self._backend, optimizers, self._clip, self.counter, self._guard)
            self._updates[names] = update
        for name in names:
            owner = self._owners.setdefault(name, update)
            if owner is not update:
                if owner.is_open:
                    raise StepError(
                        f"training_step yielded a loss for {_text(names)} in a window of accumulation in which {name!r} has "
                        f"gradients for {_text(owner.names)}. Name the same optimizers together in each batch."
                    )
                self._owners[name] = update
        return update


def _next_of(losses: Losses) -> tuple[tuple[str, ...], Tensor | SummedLoss]:
    return next(losses)


def _trainable(update: AnyUpdate) -> list[nn.Parameter]:
    found = [parameter for parameter in parameters_of(update.optimizers) if parameter.requires_grad]
    if not found:
        raise StepError(f"training_step yielded a loss for {_text(update.names)}, which has no parameter that requires gradients.")
    return found


def _text(names: tuple[str, ...]) -> str:
    return " and ".join(map(repr, names))
