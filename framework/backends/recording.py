"""A backend that trains plainly on the CPU and writes down what it was asked to do: for tests of steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from framework.backends.base import Backend, Probe
from framework.backends.report import SKIPPED, STEPPED, StepReport


class Recording(Backend):
    """Writes each verb into `calls`, in order, and does what the plain step does.

    Args:
        skipped_steps: the numbers (from 0) of the optimizer steps to skip, as a gradient scaler would.

    Attributes:
        calls: names of the verbs called so far.

    Example:
        >>> import torch
        >>> from framework.backends import Recording
        >>> backend, weight = Recording(), torch.nn.Parameter(torch.ones(1))
        >>> sgd = torch.optim.SGD([weight], lr=0.5)
        >>> backend.backward(weight.sum(), [sgd], None); backend.apply([sgd])[0].stepped
        True
        >>> backend.calls
        ['backward', 'reduce', 'step_optimizer', 'end_window']
    """

    def __init__(self, skipped_steps: tuple[int, ...] = ()) -> None:
        super().__init__(torch.device("cpu"))
        self.calls: list[str] = []
        self._skipped_steps = skipped_steps

    @property
    def name(self) -> str:
        return "recording"

    @classmethod
    def probe(cls) -> Probe:
        return Probe(True, "always available: a stand-in for tests")

    @contextmanager
    def micro(self, last: bool) -> Iterator[None]:
        self.calls.append("micro, last" if last else "micro")
        yield
        self.calls.append("micro ends")

    def backward(self, loss: Tensor, optimizers: Sequence[Optimizer], parameters: Sequence[nn.Parameter] | None) -> None:
        self.calls.append("backward")
        loss.backward(inputs=parameters)  # type: ignore[no-untyped-call]

    def reduce(self, optimizers: Sequence[Optimizer]) -> None:
        self.calls.append("reduce")

    def unscale(self, optimizer: Optimizer) -> None:
        self.calls.append("unscale")

    def step_optimizer(self, optimizer: Optimizer) -> StepReport:
        step = self.calls.count("step_optimizer")
        self.calls.append("step_optimizer")
        if step in self._skipped_steps:
            return SKIPPED
        optimizer.step()
        return STEPPED

    def end_window(self) -> None:
        self.calls.append("end_window")

    def mark_step(self) -> None:
        self.calls.append("mark_step")
