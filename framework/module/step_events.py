"""The events that `fit` adds to the engine's: inside a step, after an evaluation, and at the very end."""

from __future__ import annotations

from typing import Any
from weakref import WeakMethod, ref

from torch import Tensor
from torch.optim import Optimizer

from framework.engine.engine import Engine
from framework.engine.events import EventEnum


class StepEvents(EventEnum):
    """Fired inside a training step, after an evaluation, and once when a verb ends. Without handlers they cost nothing.

    EVALUATED fires after each evaluation of `fit`, when its results are in `state.metrics`. Hooks get these arguments after the
    engine: LOSS_COMPUTED the loss, OPTIMIZER_STEP_STARTED and OPTIMIZER_STEP_COMPLETED the optimizer. OPTIMIZER_STEP_COMPLETED does
    not fire for a step that a gradient scaler skipped. CLOSED fires always, once, like `finally`.

    Example:
        >>> from framework import StepEvents
        >>> StepEvents.LOSS_COMPUTED.value
        'loss_computed'
    """

    LOSS_COMPUTED = "loss_computed", "loss"
    BACKWARD_COMPLETED = "backward_completed"
    OPTIMIZER_STEP_STARTED = "optimizer_step_started", "optimizer"
    OPTIMIZER_STEP_COMPLETED = "optimizer_step_completed", "optimizer"
    EVALUATED = "evaluated"
    CLOSED = "closed"


_INSIDE = tuple(event for event in StepEvents if event not in (StepEvents.EVALUATED, StepEvents.CLOSED))


def register_step_events(engine: Engine) -> None:
    """Makes the step events known to an engine."""
    engine.register_events(*StepEvents)


def fire_closed(engine: Engine, under_way: BaseException | None = None) -> None:
    """Fires CLOSED: every handler runs, whatever another raises; then the first error is raised.

    Args:
        engine: whose handlers run.
        under_way: the error that ends the run, which stays the one to be raised.

    Raises:
        Exception: the first that a handler raised, unless one is under way; the others are its notes.
    """
    errors = []
    for record in engine._table.slot(StepEvents.CLOSED).records:
        try:
            record.call(engine)
        except Exception as error:  # noqa: BLE001  # raised below
            errors.append(error)
    if under_way is not None:
        for each in errors:
            under_way.add_note(f"Besides, an on_closed hook raised {each!r}.")
    elif errors:
        for later in errors[1:]:
            errors[0].add_note(f"Another on_closed hook raised {later!r}.")
        raise errors[0]


class EngineObserver:
    """Fires the step events of an engine; holds no strong reference to it.

    Attributes:
        active: whether any of them has a handler. Kept up to date as handlers come and go, so that a step only reads it.
    """

    def __init__(self, engine: Engine) -> None:
        self.active = False
        self._engine = ref(engine)
        changed = WeakMethod(self._note_change)
        for event in _INSIDE:
            engine._table.slot(event).on_change = lambda: (update := changed()) and update()

    def _note_change(self) -> None:
        engine = self._engine()
        self.active = engine is not None and any(engine._table.slot(event).records for event in _INSIDE)

    def loss_computed(self, loss: Tensor) -> None:
        self._fire(StepEvents.LOSS_COMPUTED, loss)

    def backward_completed(self) -> None:
        self._fire(StepEvents.BACKWARD_COMPLETED)

    def optimizer_step_started(self, optimizer: Optimizer) -> None:
        self._fire(StepEvents.OPTIMIZER_STEP_STARTED, optimizer)

    def optimizer_step_completed(self, optimizer: Optimizer) -> None:
        self._fire(StepEvents.OPTIMIZER_STEP_COMPLETED, optimizer)

    def _fire(self, event: StepEvents, *payload: Any) -> None:
        engine = self._engine()
        if engine is not None:
            engine.fire_event(event, *payload)
