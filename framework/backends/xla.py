"""TPU devices: torch_xla and TorchTPU, found without touching a device or importing torch_xla on a plain machine."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.optim import Optimizer

from framework.backends.base import Backend, Probe

_PCI_DEVICES = Path("/sys/bus/pci/devices")
_GOOGLE = "0x1ae0"
_NOT_YET = "accelerator='tpu' found {}, whose step this version does not have yet. Use another accelerator."


class XLA(Backend):
    """Runs steps on a TPU through torch_xla. `supervised_training_step_tpu` uses it; `fit` refuses it with the reason, for now.

    Args:
        device: an xla device; by default the current one.

    Raises:
        ImportError: torch_xla is not installed.

    Example:
        >>> from framework.backends import XLA
        >>> "accelerator='tpu'" in XLA.probe().reason
        True
    """

    def __init__(self, device: torch.device | None = None) -> None:
        self._torch_xla: Any = importlib.import_module("torch_xla")
        self._xla_model: Any = importlib.import_module("torch_xla.core.xla_model")
        super().__init__(device or torch.device("xla"))

    def reduce(self, optimizers: Sequence[Optimizer]) -> None:
        for optimizer in optimizers:
            self._xla_model.reduce_gradients(optimizer)

    def mark_step(self) -> None:
        if hasattr(self._torch_xla, "sync"):  # 2.4 and newer
            self._torch_xla.sync()
        else:
            self._xla_model.mark_step()

    @classmethod
    def probe(cls) -> Probe:
        if has_torch_tpu():
            return Probe(False, _NOT_YET.format("TorchTPU"))
        if importlib.util.find_spec("torch_xla") is None:
            torch_xla = "not installed"
        elif not (os.environ.get("PJRT_DEVICE") or _has_google_device()):
            torch_xla = "installed, but PJRT_DEVICE is not set and there is no Google PCI device"
        else:
            return Probe(False, _NOT_YET.format("torch_xla"))
        has_wheel = importlib.util.find_spec("torch_tpu") is not None
        tpu = "installed, but torch.accelerator shows no tpu" if has_wheel else "not installed"
        return Probe(
            False,
            f"accelerator='tpu' found no TPU: torch_tpu {tpu}; torch_xla {torch_xla}. To debug on the CPU set PJRT_DEVICE=CPU.",
        )


def has_torch_tpu() -> bool:
    """Tells whether TorchTPU shows a device; asks torch.accelerator only, since TorchTPU's own functions raise or abort."""
    current = torch.accelerator.current_accelerator(check_available=True)
    return current is not None and current.type == "tpu"


def _has_google_device() -> bool:
    return any(path.read_text().strip() == _GOOGLE for path in _PCI_DEVICES.glob("*/vendor"))
