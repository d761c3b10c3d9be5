"""What is done where each step is looked at and its loss or gradients are not finite: it is left out, or traced to its origin."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.optim import Optimizer

from framework.backends.ownership import parameters_of
from framework.engine.engine import Engine
from framework.engine.state import State
from framework.errors import NonFiniteError
from framework.metrics.recorder import Recorder
from framework.module.loss import DEBUG, LOOK_AT, said_of_loss
from framework.module.non_finite.diagnosis import Diagnosis
from framework.module.non_finite.kept_buffers import keep_buffers
from framework.steps.finite import all_finite
from framework.steps.update import SummedLoss
from framework.tracebacks import warn_user

if TYPE_CHECKING:
    from framework.module.train_module import TrainModule

MOST_IN_A_ROW = 100
"""Steps that may be left out one after another; a run that does nothing else is none."""


class NanGuard:
    """Judges each loss and the gradients of each step of a run, which waits for the device.

    A forward pass whose loss is not finite leaves no trace in buffers. The random numbers that it has drawn stay drawn.

    Args:
        module: is trained.
        recorder: while it is paused, a loss is computed again and not judged.
        skips: leave bad steps out; else raise.
        yields: the losses are for optimizers by name.
        judges_gradients: see `Guard`.
        diagnosis: says where it began; None does not ask.

    Attributes:
        state: of the engine; its `skipped_steps` are counted here.
    """

    state: State

    def __init__(
        self,
        module: TrainModule,
        recorder: Recorder,
        *,
        skips: bool,
        yields: bool,
        judges_gradients: bool,
        diagnosis: Diagnosis | None,
    ) -> None:
        self.judges_gradients = judges_gradients
        self.judges_each_backward = diagnosis is not None
        self._module = module
        self._recorder = recorder
        self._skips = skips
        self._yields = yields
        self._diagnosis = diagnosis
        self._advice = LOOK_AT if diagnosis is not None else f"{LOOK_AT} {DEBUG}."
        self._place = 0  # losses that the step has yielded before the one at hand
        self._put_back: Callable[[], None] = lambda: None
        self._reasons: dict[str, str] = {}  # by the optimizers of a window, why it is to be left out
        self._told = False
        self._in_a_row: Counter[str] = Counter()  # by optimizers: steps left out since the last that was not
        self._left_out: Counter[str] = Counter()  # in this epoch
        self._made: Counter[str] = Counter()  # in this epoch, those that a gradient scaler has skipped too

    def begin(self, engine: Engine, batch: Any) -> None:
        """Before the forward pass of a batch."""
        if self._recorder.paused:
            return
        self._place, self._put_back = 0, keep_buffers(self._module)
        if self._diagnosis is not None:
            self._diagnosis.keep(engine, batch)

    def begin_next_loss(self) -> None:
        """Before the computation of another loss of the same batch."""
        self._place, self._put_back = self._place + 1, keep_buffers(self._module)

    def takes_loss(self, names: tuple[str, ...], loss: Tensor | SummedLoss) -> bool:
        value = 0.0 if self._recorder.paused else (loss.mean() if isinstance(loss, SummedLoss) else loss).detach().item()
        if isfinite(value):
            return True
        self._put_back()
        said = said_of_loss(value, self.state.iteration, self.state.epoch, self._label(names))
        self._refuse(names, said, lambda diagnosis: diagnosis.of_loss(self._place))
        return False

    def takes_gradients(self, names: tuple[str, ...], optimizers: Sequence[Optimizer]) -> bool:
        parameters = [each for each in parameters_of(optimizers) if each.grad is not None]
        if self._recorder.paused or all_finite([each.grad for each in parameters if each.grad is not None]):
            return True
        own = {id(each) for each in parameters}
        known = {name: each.grad for name, each in self._module.named_parameters() if id(each) in own and each.grad is not None}
        bad = [name for name, gradient in known.items() if not all_finite([gradient])]
        label, state = self._label(names), self.state
        said = (
            f"The gradients{label and f' for {label!r}'} of {len(bad)} of {len(parameters)} parameters are not finite in iteration "
            f"{state.iteration} (epoch {state.epoch}), the first is that of {bad[0]}; the loss is finite."
        )
        self._refuse(names, said, lambda diagnosis: diagnosis.of_gradients(self._place, optimizers))
        return False

    def refuse_elsewhere(self, names: tuple[str, ...], what: str) -> None:
        if what == "loss":
            self._put_back()
        label, state = self._label(names), self.state
        self._reasons["+".join(names)] = (
            f"The {what}{label and f' for {label!r}'} of another process {'is' if what == 'loss' else 'are'} not finite in "
            f"iteration {state.iteration} (epoch {state.epoch})."
        )

    def note_step(self, names: tuple[str, ...]) -> None:
        key = "+".join(names)
        self._in_a_row[key] = 0
        self._made[key] += 1

    def note_left_out(self, names: tuple[str, ...]) -> None:
        key = "+".join(names)
        self.state.skipped_steps += 1
        self._in_a_row[key] += 1
        self._left_out[key] += 1
        said = self._reasons[key]
        if not self._told:
            self._told = True
            warn_user(f"{said} Its step is left out (nan='skip'); further ones are counted in engine.state.skipped_steps.")
        if self._in_a_row[key] >= MOST_IN_A_ROW:
            raise NonFiniteError(
                f"{MOST_IN_A_ROW} steps in a row{self._of(key)} were left out (nan='skip'), so nothing is trained any more. The "
                f"last: {said} {self._advice}"
            )

    def begin_epoch(self) -> None:
        """EPOCH_STARTED."""
        self._left_out.clear()
        self._made.clear()

    def end_epoch(self, engine: Engine) -> None:
        """EPOCH_COMPLETED: refuses an epoch in which all steps of an optimizer were left out.

        Raises:
            NonFiniteError: it was.
        """
        for key, count in self._left_out.items():
            if not self._made[key]:
                self._refuse_all(count, f"{self._of(key)} of epoch {engine.state.epoch}", key)

    def end_run(self, engine: Engine) -> None:
        """COMPLETED: tells how many steps were left out.

        Raises:
            NonFiniteError: all of them.
        """
        count = engine.state.skipped_steps
        if count and not any(engine.state.optimizer_steps.values()):
            self._refuse_all(count, " of the run", *self._reasons)
        if count:
            warn_user(f"Left out of the run: {count} step{'s' * (count > 1)} whose loss or gradients were not finite (nan='skip').")

    def state_dict(self) -> dict[str, Any]:
        """Returns what is counted, in plain values."""
        return {
            "in_a_row": dict(self._in_a_row),
            "left_out": dict(self._left_out),
            "made": dict(self._made),
            "reasons": dict(self._reasons),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes up what `state_dict` returned."""
        self._in_a_row.update(state["in_a_row"])
        self._left_out.update(state["left_out"])
        self._made.update(state["made"])
        self._reasons.update(state["reasons"])

    def _refuse(self, names: tuple[str, ...], said: str, ask: Callable[[Diagnosis], str]) -> None:
        if self._diagnosis is not None and not (self._skips and self._told):
            said = f"{said} {ask(self._diagnosis)}"
        if not self._skips:
            raise NonFiniteError(f"{said} The weights are those before the step. {self._advice}")
        self._reasons["+".join(names)] = said

    def _refuse_all(self, count: int, of: str, *keys: str) -> None:
        all_of_them = f"All {count} steps{of} were" if count > 1 else f"The only step{of} was"
        last = "".join(f" The last: {self._reasons[key]}" for key in keys)
        raise NonFiniteError(f"{all_of_them} left out (nan='skip').{last} {self._advice}")

    def _label(self, names: tuple[str, ...]) -> str:
        return "+".join(names) if self._yields else ""

    def _of(self, key: str) -> str:
        return f" of {key!r}" if self._yields else ""
