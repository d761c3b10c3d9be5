"""Automatic mixed precision with torch.amp: bf16, and fp16 with a gradient scaler."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from framework.backends.autocast import F, best_precision, in_autocast
from framework.backends.base import Backend, Probe
from framework.backends.ownership import parameters_of
from framework.backends.report import STEPPED, StepReport, watched_step
from framework.errors import ModuleError


class AMP(Backend):
    """Runs the forward pass and the loss under `torch.autocast`; in fp16 the loss is scaled by a `torch.amp.GradScaler`.

    Args:
        device: where to run.
        precision: "bf16", "fp16", or None for what the device is best at (`best_precision`).
        scaler: scales the loss; by default a new one, in fp16.

    Attributes:
        scaler: the gradient scaler; disabled, and so without effect, in bf16.

    Example:
        >>> import torch
        >>> from framework.backends import AMP
        >>> AMP(torch.device("cpu")).precision
        'bf16'
    """

    def __init__(self, device: torch.device, precision: str | None = None, *, scaler: torch.amp.GradScaler | None = None) -> None:
        super().__init__(device, precision or best_precision(device))
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.precision == "fp16") if scaler is None else scaler
        self._scaled_steps = 0  # of the open window: without any, the scale has nothing to go by
        if self.precision == "fp16" and device.type == "cpu":
            warnings.warn(
                "fp16 on the CPU is several times slower than fp32. Use precision='bf16' unless you are testing an fp16 run.",
                UserWarning,
                stacklevel=2,
            )

    @property
    def name(self) -> str:
        return "amp"

    @classmethod
    def probe(cls) -> Probe:
        return Probe(True, "always available: on cuda, else mps, else cpu")

    def adopt(
        self,
        model: nn.Module,
        optimizers: Mapping[str, Optimizer],
        replaced: Mapping[nn.Parameter, nn.Parameter] | None = None,
    ) -> None:
        super().adopt(model, optimizers, replaced)
        self._scaled_steps = 0
        if self.scaler.is_enabled():
            self.scaler._per_optimizer_states.clear()  # a run that failed inside a step has left its own
        for name, optimizer in optimizers.items():
            for parameter in parameters_of((optimizer,)):
                if self.scaler.is_enabled() and parameter.dtype is torch.float16:
                    raise ModuleError(
                        f"Optimizer {name!r} holds a parameter of shape {tuple(parameter.shape)} in float16; mixed precision keeps "
                        "the parameters in float32 and casts in the forward pass. Remove .half() from the module."
                    )

    @property
    def takes_closure(self) -> bool:
        """Not with a scaler: it could not tell which of the calls to skip."""
        return not self.scaler.is_enabled()

    def autocast(self, function: F) -> F:
        return in_autocast(function, self.device.type, self.precision)

    def backward(self, loss: Tensor, optimizers: Sequence[Optimizer], parameters: Sequence[nn.Parameter] | None) -> None:
        self.scaler.scale(loss).backward(inputs=parameters)  # type: ignore[no-untyped-call]

    def unscale(self, optimizer: Optimizer) -> None:
        if not self.scaler.is_enabled() or not _has_gradients(optimizer):
            return
        if "grad_scaler" in signature(optimizer.step).parameters:
            raise ModuleError(
                f"{type(optimizer).__name__} divides its gradients by the loss scale itself, also where that was done already, as "
                "clipping and the hooks of a step need it: they would be divided twice. Use it without clip_norm, clip_value and "
                "on_optimizer_step_started, or make it without capturable=True."
            )
        self.scaler.unscale_(optimizer)

    def join_skips(self, optimizers: Sequence[Optimizer]) -> None:
        if self.scaler.is_enabled():  # torch has no public way to these flags; they are summed on the device, where nothing waits
            states = [self.scaler._per_optimizer_states[id(each)] for each in optimizers if _has_gradients(each)]
            flags = [flag for state in states for flag in state["found_inf_per_device"].values()]
            if len(states) > 1:
                total = torch.stack([flag.to(self.device) for flag in flags]).sum(0)
                for flag in flags:
                    flag.copy_(total)

    def step_optimizer(self, optimizer: Optimizer) -> StepReport:
        if not self.scaler.is_enabled() or not _has_gradients(optimizer):
            optimizer.step()  # as the plain step does; a scaler refuses an optimizer without gradients
            return STEPPED
        self._scaled_steps += 1
        return watched_step(optimizer, lambda: self.scaler.step(optimizer))

    def end_window(self) -> None:
        if self._scaled_steps:
            self.scaler.update()
        self._scaled_steps = 0

    def state_dict(self) -> dict[str, Any]:
        native = self.scaler.state_dict()
        return {"loss_scale": native["scale"], "good_steps": native["_growth_tracker"], "native": native} if native else {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if not self.scaler.is_enabled():
            super().load_state_dict(state)
        elif state:
            native = {**self.scaler.state_dict(), **(state["native"] if "_growth_tracker" in state["native"] else {})}
            self.scaler.load_state_dict({**native, "scale": state["loss_scale"], "_growth_tracker": state["good_steps"]})


def _has_gradients(optimizer: Optimizer) -> bool:
    return any(parameter.grad is not None for parameter in parameters_of((optimizer,)))
