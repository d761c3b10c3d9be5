"""TPU devices: torch_xla and TorchTPU, found without touching a device or importing torch_xla on a plain machine."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn
from torch.optim import Optimizer

from framework.backends.autocast import F, in_autocast
from framework.backends.base import Backend, Probe
from framework.backends.tree import tensors_in
from framework.errors import AcceleratorError

_PCI_DEVICES = Path("/sys/bus/pci/devices")
_GOOGLE = "0x1ae0"


class XLA(Backend):
    """Runs steps on a TPU through torch_xla 2.1 to 2.9, or on whatever `PJRT_DEVICE` names.

    What a step computes is recorded and runs when the step is marked; each new shape of a batch is compiled once, so keep them
    equal (`drop_last=True`). Under SPMD (`torch_xla.runtime.use_spmd()` before `fit`) batches are split over all devices along
    their first dimension, and the model is on each of them.

    Args:
        device: an xla device; by default the current one.
        precision: "fp32" or "bf16".

    Raises:
        ImportError: torch_xla is not installed.
        AcceleratorError: torch_xla does not start, or another precision. In `fit` also: it started too late to train.

    Example:
        >>> from framework import XLA
        >>> XLA.probe().ok
        False
    """

    _seed: ClassVar[int | None] = None

    def __init__(self, device: torch.device | None = None, precision: str = "fp32") -> None:
        if precision not in ("fp32", "bf16"):
            raise AcceleratorError(
                f"precision={precision!r} does not work with torch_xla, which has no gradient scaler. Use 'bf16' or 'fp32'."
            )
        os.environ.setdefault("PJRT_DEVICE", "TPU")  # else torch_xla would take the CPU, with a mere log line
        self._torch_xla: Any = importlib.import_module("torch_xla")
        self._xla_model: Any = importlib.import_module("torch_xla.core.xla_model")
        super().__init__(device or self._current_device(), precision)
        self._follow_seed()
        self._mesh = self._make_mesh()

    @classmethod
    def probe(cls) -> Probe:
        if importlib.util.find_spec("torch_xla") is None:
            return Probe(False, "not installed")
        if not has_evidence():
            return Probe(False, "installed, but PJRT_DEVICE is not set and there is no Google PCI device")
        return Probe(True, "available")

    def adopt(
        self,
        model: nn.Module,
        optimizers: Mapping[str, Optimizer],
        replaced: Mapping[nn.Parameter, nn.Parameter] | None = None,
    ) -> None:
        self._refuse_late_start()
        super().adopt(model, optimizers, replaced)

    def autocast(self, function: F) -> F:
        return function if self.precision == "fp32" else in_autocast(function, "xla", self.precision)

    def compile(self, function: F, options: Mapping[str, Any]) -> F:
        raise AcceleratorError("compile=True is not for torch_xla, which compiles every step by itself. Leave it out.")

    def move(self, batch: Any) -> Any:
        moved = super().move(batch)
        if self._mesh is not None:
            self._split(moved)
        return moved

    def reduce(self, optimizers: Sequence[Optimizer]) -> None:
        for optimizer in optimizers:
            self._xla_model.reduce_gradients(optimizer)

    def mark_step(self) -> None:
        if hasattr(self._torch_xla, "sync"):  # 2.4 and newer
            self._torch_xla.sync()
        else:
            self._xla_model.mark_step()

    def synchronize(self) -> None:
        state = self._xla_model.get_rng_state()
        self.mark_step()
        self._xla_model.set_rng_state(state)  # a step moves the generator on; looking at the clock should not
        self._xla_model.wait_device_ops()

    def _follow_seed(self) -> None:
        """Seeds the device's generator, which `torch.manual_seed` does not reach, as torch is seeded; once for each seed."""
        seed = torch.initial_seed()
        if seed != XLA._seed:
            XLA._seed = seed
            self._xla_model.set_rng_state(seed % 2**63)

    def _current_device(self) -> torch.device:
        try:
            return torch.device(self._torch_xla.device() if hasattr(self._torch_xla, "device") else self._xla_model.xla_device())
        except (OSError, RuntimeError) as error:
            raise AcceleratorError(
                f"torch_xla does not start with PJRT_DEVICE={os.environ['PJRT_DEVICE']}: {error}. Install it with its TPU library "
                "(torch_xla[tpu]) on a TPU machine; to debug on the CPU set PJRT_DEVICE=CPU."
            ) from error

    def _refuse_late_start(self) -> None:
        """Refuses to train where the process has made a backward pass before torch_xla started. See: pytorch/xla issue 4174."""
        try:
            torch.ones((), device=self.device, requires_grad=True).backward()  # type: ignore[no-untyped-call]
        except RuntimeError as error:
            raise AcceleratorError(
                "torch_xla cannot train in this process: it started after a backward pass on another device, which torch does not "
                "take in. Start it first, with select_backend('tpu') at the beginning of the program, or train in a new process."
            ) from error

    def _make_mesh(self) -> Any:
        runtime: Any = importlib.import_module("torch_xla.runtime")
        if not runtime.is_spmd():
            return None
        spmd: Any = importlib.import_module("torch_xla.distributed.spmd")
        count = runtime.global_runtime_device_count()
        return spmd.Mesh(list(range(count)), (count,), ("data",))

    def _split(self, tree: Any) -> None:
        spmd: Any = importlib.import_module("torch_xla.distributed.spmd")
        for tensor in tensors_in(tree):
            if tensor.dim():
                spmd.mark_sharding(tensor, self._mesh, ("data", *[None] * (tensor.dim() - 1)))


def probe_tpu() -> Probe:
    """Tells whether there is a TPU, through TorchTPU or torch_xla, and if not, what was found of either."""
    torch_xla = XLA.probe()
    if torch_xla.ok or has_torch_tpu():
        return Probe(True, "available")
    has_wheel = importlib.util.find_spec("torch_tpu") is not None
    torch_tpu = "installed, but torch.accelerator shows no tpu" if has_wheel else "not installed"
    return Probe(
        False,
        f"accelerator='tpu' found no TPU: torch_tpu {torch_tpu}; torch_xla {torch_xla.reason}. "
        "To debug on the CPU set PJRT_DEVICE=CPU.",
    )


def has_torch_tpu() -> bool:
    """Tells whether TorchTPU shows a device; asks torch.accelerator only, since TorchTPU's own functions raise or abort."""
    current = torch.accelerator.current_accelerator(check_available=True)
    return current is not None and current.type == "tpu"


def has_evidence() -> bool:
    """Tells whether torch_xla has something to run on: what PJRT_DEVICE names, or a device of Google's in the machine."""
    return bool(os.environ.get("PJRT_DEVICE")) or any(path.read_text().strip() == _GOOGLE for path in _PCI_DEVICES.glob("*/vendor"))
