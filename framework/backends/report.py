"""What is told of a step: to those who watch it, and to those who count it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor
from torch.optim import Optimizer


@dataclass(frozen=True, slots=True)
class StepReport:
    """What became of one optimizer's step.

    Attributes:
        called: the optimizer was asked to step; a gradient scaler may have decided against it.
        found_inf: a flag on the device, not yet read, by which a fused optimizer skips by itself; None where there is none.
        grad_norm: total 2-norm of the gradients of the step before the clip, on the device; None unless they were clipped by norm.
    """

    called: bool = True
    found_inf: Tensor | None = None
    grad_norm: Tensor | None = None

    @property
    def stepped(self) -> bool:
        """Whether the optimizer really stepped. Reading the flag of a fused optimizer waits for the device; nothing else does."""
        return self.called and (self.found_inf is None or not bool(self.found_inf))


STEPPED = StepReport()
SKIPPED = StepReport(called=False)


def watched_step(optimizer: Optimizer, step: Callable[[], Any]) -> StepReport:
    """Calls `step`, which steps the optimizer or decides not to, and tells which, without reading anything off a device."""
    report = SKIPPED

    def note(*_: Any) -> None:
        nonlocal report  # a fused optimizer is always called, and skips by itself what the flag tells it to
        report = StepReport(found_inf=getattr(optimizer, "found_inf", None))

    hook = optimizer.register_step_post_hook(note)
    try:
        step()
    finally:
        hook.remove()
    return report


class StepObserver(Protocol):
    """Is told what happens inside a step. It is told only while `active`."""

    active: bool

    def loss_computed(self, loss: Tensor) -> None: ...
    def backward_completed(self) -> None: ...
    def optimizer_step_started(self, optimizer: Optimizer) -> None: ...
    def optimizer_step_completed(self, optimizer: Optimizer) -> None: ...
