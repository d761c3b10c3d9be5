"""Automatic mixed precision with torch.amp: bf16, and fp16 with a gradient scaler."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from framework.backends.base import Backend, F, Probe, parameters_of
from framework.errors import ModuleError

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


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

    def adopt(self, model: nn.Module, optimizers: Mapping[str, Optimizer]) -> None:
        super().adopt(model, optimizers)
        for name, optimizer in optimizers.items():
            for parameter in parameters_of((optimizer,)):
                if self.scaler.is_enabled() and parameter.dtype is torch.float16:
                    raise ModuleError(
                        f"Optimizer {name!r} holds a parameter of shape {tuple(parameter.shape)} in float16; mixed precision keeps "
                        "the parameters in float32 and casts in the forward pass. Remove .half() from the module."
                    )

    def autocast(self, function: F) -> F:
        from torch.amp import autocast  # looked up now, so that a replaced one is used

        device_type, dtype = self.device.type, DTYPES[self.precision]

        @wraps(function)
        def in_autocast(*args: Any, **kwargs: Any) -> Any:
            with autocast(device_type, dtype=dtype):
                return function(*args, **kwargs)

        return in_autocast  # type: ignore[return-value]

    def backward(self, loss: Tensor) -> None:
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]

    def unscale(self, optimizer: Optimizer) -> None:
        if _has_gradients(optimizer):
            self.scaler.unscale_(optimizer)

    def step_optimizer(self, optimizer: Optimizer) -> bool:
        if self.scaler.is_enabled() and not _has_gradients(optimizer):
            optimizer.step()  # as the plain step does; a scaler refuses an optimizer without gradients
            return True
        self._scaled_steps += 1
        stepped = False

        def note(*_: Any) -> None:
            nonlocal stepped  # a fused optimizer is always called, and skips by itself what the flag tells it to
            found_inf: Tensor | None = getattr(optimizer, "found_inf", None)
            stepped = found_inf is None or not bool(found_inf)

        hook = optimizer.register_step_post_hook(note)
        try:
            self.scaler.step(optimizer)
        finally:
            hook.remove()
        return stepped

    def end_window(self) -> None:
        if self._scaled_steps:
            self.scaler.update()
        self._scaled_steps = 0

    def state_dict(self) -> dict[str, Any]:
        return self.scaler.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if state:
            self.scaler.load_state_dict(dict(state))


def _has_gradients(optimizer: Optimizer) -> bool:
    return any(parameter.grad is not None for parameter in parameters_of((optimizer,)))


def best_precision(device: torch.device) -> str:
    """Returns the mixed precision a device is best at: bf16 where it is native, else fp16."""
    if device.type == "mps" or (device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False)):
        return "fp16"
    return "bf16"
