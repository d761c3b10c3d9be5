"""Runs that train nothing: epochs without a step of an optimizer, optimizers without gradients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor
from torch.optim import Optimizer

from framework.backends.ownership import parameters_of
from framework.engine.engine import Engine
from framework.engine.events import Events
from framework.errors import NonFiniteError, StepError
from framework.steps.counter import StepCounter

FEWEST_SKIPPED = 25
"""Steps of an optimizer that a gradient scaler may skip in an epoch that has no other: its scale has fallen by 2**25 then."""


class _Begin(NamedTuple):
    iteration: int
    steps: int
    skipped: Mapping[str, int]
    left_out: int


class Idle:
    """Looks at each epoch's end whether an optimizer has stepped in it, and at the first steps whether each gets gradients.

    An optimizer gets gradients where a parameter of it has one after a step, or has changed; it is looked at after each iteration
    of the first epoch until it does. One whose parameters require none is left alone.

    Args:
        optimizers: by name.
        counter: of their steps.
        yields: the training step yields its losses, which tells by itself where there are no gradients.
        max_iters: iterations after which the run ends, in an epoch or not; None for no such limit.
    """

    def __init__(self, optimizers: Mapping[str, Optimizer], counter: StepCounter, *, yields: bool, max_iters: int | None) -> None:
        self._counter = counter
        self._max_iters = max_iters
        self._begin: _Begin | None = None
        self._waiting = {} if yields else {name: each for name, each in optimizers.items() if _wants_gradients(each)}
        self._number = len(optimizers)
        self._versions: dict[str, int] | None = None

    def begin(self, engine: Engine) -> None:
        """Notes where an epoch begins."""
        counter, state = self._counter, engine.state
        self._begin = _Begin(state.iteration, sum(counter.steps.values()), dict(counter.skipped), state.skipped_steps)
        if self._waiting and self._versions is None:
            self._versions = {name: _version(each) for name, each in self._waiting.items()}
            engine.add_event_handler(Events.ITERATION_COMPLETED, self.look)

    def look(self, engine: Engine) -> None:
        """ITERATION_COMPLETED, until each optimizer had gradients.

        Raises:
            StepError: none had, in the first iteration.
        """
        assert self._versions is not None
        versions = self._versions
        self._waiting = {
            name: each
            for name, each in self._waiting.items()
            if _version(each) == versions[name] and all(parameter.grad is None for parameter in parameters_of((each,)))
        }
        state = engine.state
        if not self._waiting:
            engine.remove_event_handler(self.look, Events.ITERATION_COMPLETED)
        elif len(self._waiting) == self._number and state.skipped_steps == 0 and not _is_zero(state.output):
            self._refuse_waiting(f"iteration {state.iteration}")

    def end(self, engine: Engine) -> None:
        """EPOCH_COMPLETED: refuses an epoch in which no optimizer stepped.

        All is read off the device by then.

        Raises:
            StepError: no optimizer was asked to step in the epoch, or one had no gradients in the first.
            NonFiniteError: a gradient scaler has skipped every step of an epoch of many.
        """
        begin, state = self._begin, engine.state
        if begin is None or state.iteration == begin.iteration or engine.should_terminate_single_epoch:
            return  # taken up inside by another process, or broken off
        self._refuse_idle(begin, engine)
        if state.skipped_steps == begin.left_out:
            self._refuse_waiting(f"epoch {state.epoch}")

    def end_run(self, engine: Engine) -> None:
        """Refuses such an end of a run that `max_iters` has ended inside an epoch.

        Raises:
            StepError, NonFiniteError: as for an epoch.
        """
        begin, state = self._begin, engine.state
        if begin is not None and self._max_iters is not None and state.iteration >= self._max_iters > begin.iteration:
            self._refuse_idle(begin, engine)

    def _refuse_idle(self, begin: _Begin, engine: Engine) -> None:
        state, counter = engine.state, self._counter
        if sum(counter.steps.values()) > begin.steps or state.skipped_steps > begin.left_out:
            return
        skipped = max(count - begin.skipped[name] for name, count in counter.skipped.items())
        if skipped == 0:
            raise StepError(
                f"No optimizer stepped in epoch {state.epoch}, in {state.iteration - begin.iteration} iterations: training_step "
                "yielded no loss. Yield (name, loss) for each step of an optimizer. What is to be done before the first, such as "
                "to fill a replay buffer, has its place in on_started, or in an epoch_length that is long enough for both."
            )
        if skipped >= FEWEST_SKIPPED:
            raise NonFiniteError(
                f"The gradient scaler has skipped all {skipped} steps of epoch {state.epoch}, for gradients that are not finite, "
                "although it has halved its scale each time: it is not the scale. Look at the batch for NaN or infinite inputs, "
                "and at logarithms and divisions; precision='bf16' needs no scaler."
            )

    def _refuse_waiting(self, where: str) -> None:
        waiting = [name for name, each in self._waiting.items() if _wants_gradients(each)]  # a hook may have frozen the others
        if not waiting:
            return
        names = " and ".join(map(repr, waiting))
        several = len(waiting) > 1
        what = f"The optimizers {names}" if several else f"The optimizer {names}"
        raise StepError(
            f"{what} got no gradients in {where}: the loss depends on none of {'their' if several else 'its'} parameters. Look for "
            ".detach() and torch.no_grad(), and whether training_step uses the parameters that configure_optimizers gives out; "
            "freeze those that are to rest with requires_grad_(False)."
        )


def _wants_gradients(optimizer: Optimizer) -> bool:
    return any(parameter.requires_grad for parameter in parameters_of((optimizer,)))


def _is_zero(output: Any) -> bool:
    """Tells whether a loss is 0, as that of a batch is in which a mask has left nothing over."""
    loss = output["loss"] if isinstance(output, Mapping) else output
    return isinstance(loss, Tensor) and loss.item() == 0


def _version(optimizer: Optimizer) -> int:
    """Returns a number that grows with each change of a parameter in place."""
    return sum(parameter._version for parameter in parameters_of((optimizer,)))
