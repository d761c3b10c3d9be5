"""One argument, every accelerator: from `accelerator=` and `precision=` to a backend."""

from __future__ import annotations

import difflib
import re

import torch

from framework.backends.amp import AMP, DTYPES, best_precision
from framework.backends.apex import Apex
from framework.backends.base import Backend, Probe
from framework.backends.plain import Plain
from framework.backends.xla import XLA
from framework.errors import AcceleratorError

ACCELERATORS = ("auto", "cpu", "cuda", "mps", "amp", "apex", "tpu")
PRECISIONS = ("fp32", *DTYPES)
_TORCH = f"(torch {torch.__version__})"
_DEVICE = re.compile(r"(cuda|mps|cpu):(\d+)")


def select_backend(accelerator: str | Backend = "auto", precision: str | None = None) -> Backend:
    """Returns the backend for an accelerator; nothing falls back silently.

    Args:
        accelerator: "cpu", "cuda" (or "cuda:1"), "mps"; "amp": mixed precision on the best device; "apex"; "tpu"; "auto": the best
            device in full precision; or a `Backend`, which is returned as it is.
        precision: "fp32", "bf16" or "fp16"; None leaves the accelerator its own.

    Raises:
        AcceleratorError: unknown, or not available here. The message lists every name with its reason.

    Example:
        >>> from framework import select_backend
        >>> select_backend("cpu").name, select_backend("cpu", precision="bf16").precision
        ('cpu', 'bf16')
    """
    if precision is not None and precision not in PRECISIONS:
        raise AcceleratorError(
            f"precision={precision!r} is unknown. It is one of {', '.join(PRECISIONS)}, or None for the default."
        )
    if isinstance(accelerator, Backend):
        if precision not in (None, accelerator.precision):
            raise AcceleratorError(
                f"precision={precision!r} contradicts the given {type(accelerator).__name__} backend, which runs in "
                f"{accelerator.precision}. Leave precision out, or make the backend with it."
            )
        return accelerator
    device = _device_of(accelerator)
    if accelerator == "amp":
        precision = precision or best_precision(device)
    return AMP(device, precision) if precision in DTYPES else Plain(device)


def available_accelerators() -> dict[str, str]:
    """Returns for each accelerator name "available" or the reason why it is not.

    Example:
        >>> from framework import available_accelerators
        >>> available_accelerators()["cpu"]
        'available'
    """
    return {name: "available" if (probe := _probe(name)).ok else probe.reason for name in ACCELERATORS}


def _device_of(accelerator: str) -> torch.device:
    if not isinstance(accelerator, str):
        raise AcceleratorError(f"accelerator={accelerator!r} is neither a name nor a Backend. {_listing()}")
    indexed = _DEVICE.fullmatch(accelerator)
    name = indexed[1] if indexed else accelerator
    if name not in ACCELERATORS:
        near = ["cuda"] if name == "gpu" else difflib.get_close_matches(name, ACCELERATORS, n=1)
        raise AcceleratorError(
            f"accelerator={accelerator!r} is unknown.{f' Did you mean {near[0]!r}?' if near else ''} {_listing()}"
        )
    probe = _probe(name)
    if not probe.ok:
        raise AcceleratorError(f"{probe.reason} {_listing()}")
    if indexed:
        count = torch.cuda.device_count() if name == "cuda" else 1
        if int(indexed[2]) >= count:
            raise AcceleratorError(f"accelerator={accelerator!r}: this machine has {count} {name} device(s), numbered from 0.")
        return torch.device(accelerator)
    return torch.device(_best_device() if name in ("auto", "amp") else name)


def _best_device() -> str:
    return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"


def _probe(name: str) -> Probe:
    if name == "cuda" and not torch.cuda.is_available():
        return Probe(
            False, f"accelerator='cuda' found no CUDA GPU; torch.cuda.is_available() is False (torch {torch.__version__})."
        )
    if name == "mps" and not torch.backends.mps.is_available():
        return Probe(False, f"accelerator='mps' found no Apple GPU: torch.backends.mps.is_available() is False {_TORCH}.")
    if name == "apex":
        return Apex.probe()
    if name == "tpu":
        return XLA.probe()
    return Probe(True)


def _listing() -> str:
    lines = [f"\n  {name!r}: {status}" for name, status in available_accelerators().items()]
    return "The accelerators are:" + "".join(lines)
