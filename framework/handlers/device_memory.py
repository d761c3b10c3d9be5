"""Draws how much memory a run takes."""

from __future__ import annotations

from pathlib import Path

import torch

from framework.engine.engine import Engine
from framework.errors import SettingError
from framework.handlers.gauges import add_gauge

_STATUS = Path("/proc/self/status")
_CUDA = {
    "allocated_mib": "allocated_bytes.all.current",
    "reserved_mib": "reserved_bytes.all.current",
    "peak_mib": "allocated_bytes.all.peak",
}


class DeviceMemory:
    """Adds the memory in use to the curves, in MiB, at each of their points.

    On CUDA: "train/memory/allocated_mib", what tensors hold; "train/memory/reserved_mib", what torch holds for them; and
    "train/memory/peak_mib", the most that tensors have held since the process began or
    `torch.cuda.reset_peak_memory_stats()`. Elsewhere "train/memory/rss_mib", what the process has in main memory, without those of
    its workers; it is read from /proc, which Linux has. Reading costs nothing between the points.

    Raises:
        SettingError: when a run starts, on a system where it cannot be read.

    Example:
        >>> from types import SimpleNamespace
        >>> import torch
        >>> from framework import DeviceMemory, Engine, Recorder
        >>> from framework.module.hooks import register_hooks
        >>> engine = Engine(lambda engine, batch: None)
        >>> engine.state.module = SimpleNamespace(device=torch.device("cpu"))  # fit sets both
        >>> engine.state.recorder = Recorder("train")
        >>> _ = register_hooks(engine, DeviceMemory()); _ = engine.run([0])
        >>> engine.state.recorder.log("loss", 1.0); points = engine.state.recorder.flush(iteration=1, epoch=1)
        >>> list(points), points["train/memory/rss_mib"] > 10
        (['train/loss', 'train/memory/rss_mib'], True)
    """

    def __init__(self) -> None:
        self._device = torch.device("cpu")

    def on_started(self, engine: Engine) -> None:
        """Begins to draw."""
        module = getattr(engine.state, "module", None)
        if module is None:
            raise SettingError(
                "DeviceMemory looks at the device of engine.state.module, which is not there. fit sets it; on your own Engine, set "
                "it yourself."
            )
        self._device = module.device
        if self._device.type != "cuda" and not _STATUS.exists():
            raise SettingError(
                f"DeviceMemory reads the memory of a process from {_STATUS}, which this system does not have, and that of a device "
                f"only on CUDA; this is {self._device}. Leave DeviceMemory out here."
            )
        add_gauge(engine, self, self._read)

    def _read(self, iteration: int) -> dict[str, float]:
        if self._device.type != "cuda":
            return {"memory/rss_mib": _resident_kib() / 2**10}
        found = torch.cuda.memory_stats(self._device)
        return {f"memory/{name}": found.get(entry, 0) / 2**20 for name, entry in _CUDA.items()}


def _resident_kib() -> int:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1])
