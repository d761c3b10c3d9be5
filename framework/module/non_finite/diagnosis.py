"""Runs a step again whose loss or gradients were not finite, to say where that began."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from types import GeneratorType
from typing import TYPE_CHECKING, Any
from weakref import ref

from torch import Tensor
from torch.optim import Optimizer

from framework.backends.base import Backend
from framework.backends.ownership import parameters_of
from framework.backends.tree import map_tensors
from framework.engine.engine import Engine
from framework.metrics.recorder import Recorder
from framework.module.loss import split_output, split_yielded
from framework.module.non_finite.backward_origins import BackwardOrigins
from framework.module.non_finite.kept_buffers import keep_buffers
from framework.module.non_finite.origins import Origins
from framework.seeding import random_state, set_random_state
from framework.steps.update import SummedLoss

if TYPE_CHECKING:
    from framework.module.train_module import TrainModule

_AFTER_STEPS = " (with the weights that the losses before it have stepped)"
_NOT_AGAIN = (
    "did not show it: it is not deterministic, keeps state outside of buffers, or a hook has changed the batch or gradients (hooks "
    "do not run again)."
)


class Diagnosis:
    """Keeps what a step needs to be run again: its batch, the random state and the buffers from before it.

    What was computed is left as it is: gradients, buffers, random state and what was recorded.

    Args:
        module: declares the step.
        step: its `training_step`, not compiled; called with batch and engine.
        backend: runs it.
        optimizers: by name.
        recorder: is told nothing of it.
    """

    def __init__(
        self,
        module: TrainModule,
        step: Callable[[Any, Engine], Any],
        backend: Backend,
        optimizers: Mapping[str, Optimizer],
        recorder: Recorder,
    ) -> None:
        self._module = module
        self._step = step
        self._loss = backend.autocast(self._loss_of)
        self._optimizers = optimizers
        self._recorder = recorder

    def keep(self, engine: Engine, batch: Any) -> None:
        """Keeps what a step begins with."""
        self._engine, self._batch = ref(engine), map_tensors(batch, _copied)
        self._random, self._put_back = random_state(), keep_buffers(self._module)

    def of_loss(self, place: int) -> str:
        """Says where a loss that is not finite comes from.

        Args:
            place: how many losses the step has yielded before it.
        """
        return self._said(self._origin_of_loss, place)

    def of_gradients(self, place: int, optimizers: Sequence[Optimizer]) -> str:
        """Says where gradients that are not finite come from, of a loss that is.

        Args:
            place: how many losses the step has yielded before it.
            optimizers: of the parameters that the loss is for.
        """
        return self._said(lambda place: self._origin_of_gradients(place, optimizers), place)

    def _said(self, origin: Callable[[int], str | None], place: int) -> str:
        again = f"Run again{_AFTER_STEPS if place else ''}, the step"
        try:
            with self._as_before():
                found = origin(place)
        except Exception as error:  # noqa: BLE001  # what went wrong first is to be raised, and tells of this
            return f"{again} raised {type(error).__name__}: {error}"
        return f"{again} {found}." if found else f"{again} {_NOT_AGAIN}"

    def _origin_of_loss(self, place: int) -> str | None:
        origins = Origins(self._module, self._batch)
        with origins.following():
            loss = self._loss(place)
        return None if loss is None else origins.of(loss)

    def _origin_of_gradients(self, place: int, optimizers: Sequence[Optimizer]) -> str | None:
        origins = BackwardOrigins(self._module)
        with self._without_gradients():
            with origins.following():
                loss = self._loss(place)
            if loss is not None:
                origins.look_at(loss)
                loss.backward(inputs=[each for each in parameters_of(optimizers) if each.requires_grad])  # type: ignore[no-untyped-call]
        return origins.first

    def _loss_of(self, place: int) -> Tensor | None:
        engine = self._engine()
        assert engine is not None, "it is in the step"
        returned = self._step(self._batch, engine)
        if isinstance(returned, GeneratorType):
            yielded = next(islice(returned, place, None), None)
            returned.close()
            if yielded is None:
                return None
            _, loss = split_yielded(yielded, self._optimizers)
        else:
            loss, _ = split_output(returned)
        return loss.mean() if isinstance(loss, SummedLoss) else loss

    @contextmanager
    def _as_before(self) -> Iterator[None]:
        """Puts random state and buffers back to before the step while the block runs; nothing is recorded there."""
        now, put_back = random_state(), keep_buffers(self._module)
        set_random_state(self._random)
        self._put_back()
        try:
            with self._recorder.pause():
                yield
        finally:
            set_random_state(now)
            put_back()

    @contextmanager
    def _without_gradients(self) -> Iterator[None]:
        """Sets the gradients aside while the block runs."""
        kept = [(parameter, parameter.grad) for parameter in self._module.parameters()]
        for parameter, _ in kept:
            parameter.grad = None
        try:
            yield
        finally:
            for parameter, gradient in kept:
                parameter.grad = gradient


def _copied(item: Any) -> Any:
    return item.detach().clone().requires_grad_(item.requires_grad) if isinstance(item, Tensor) else item
