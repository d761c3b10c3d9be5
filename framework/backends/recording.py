"""A backend that trains plainly on the CPU and writes down what it was asked to do: for tests of steps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.optim import Optimizer

from framework.backends.base import Backend, Probe


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
        >>> backend.backward(weight.sum()); backend.apply([torch.optim.SGD([weight], lr=0.5)])
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

    def backward(self, loss: Tensor) -> None:
        self.calls.append("backward")
        loss.backward()  # type: ignore[no-untyped-call]

    def reduce(self, optimizers: Sequence[Optimizer]) -> None:
        self.calls.append("reduce")

    def unscale(self, optimizer: Optimizer) -> None:
        self.calls.append("unscale")

    def step_optimizer(self, optimizer: Optimizer) -> bool:
        step = self.calls.count("step_optimizer")
        self.calls.append("step_optimizer")
        if step in self._skipped_steps:
            return False
        optimizer.step()
        return True

    def end_window(self) -> None:
        self.calls.append("end_window")

    def mark_step(self) -> None:
        self.calls.append("mark_step")
