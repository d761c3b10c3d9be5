"""One argument, every accelerator: from `accelerator=` and `precision=` to a backend."""

from __future__ import annotations

import difflib
import os
import re

import torch

from framework.backends.amp import AMP
from framework.backends.apex import Apex
from framework.backends.autocast import DTYPES, best_precision
from framework.backends.base import Backend, Probe
from framework.backends.plain import Plain
from framework.backends.xla import XLA, has_torch_tpu, probe_tpu
from framework.errors import AcceleratorError

ACCELERATORS = ("auto", "cpu", "cuda", "mps", "amp", "apex", "tpu")
PRECISIONS = ("fp32", *DTYPES)
_ELSEWHERE = {  # what other libraries and torch call them
    **dict.fromkeys(("32", "32-true", "float32", "torch.float32", "float", "single", "full", "no"), "fp32"),
    **dict.fromkeys(("16", "16-mixed", "16-true", "float16", "torch.float16", "half", "amp", "mixed"), "fp16"),
    **dict.fromkeys(("bf16-mixed", "bf16-true", "bfloat16", "torch.bfloat16", "bfloat"), "bf16"),
}
_GPU = {"gpu": "cuda", "nvidia": "cuda", "xla": "tpu", "metal": "mps", "mixed": "amp"}
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
            f"{_nearest_precision(precision)}"
        )
    if isinstance(accelerator, Backend):
        if precision not in (None, accelerator.precision):
            raise AcceleratorError(
                f"precision={precision!r} contradicts the given {type(accelerator).__name__} backend, which runs in "
                f"{accelerator.precision}. Leave precision out, or make the backend with it."
            )
        return accelerator
    kind, device = _device_of(accelerator)
    if kind == "apex":
        return _apex(precision)
    if device.type == "xla":
        return XLA(precision=precision or "fp32")
    if device.type == "tpu" and precision == "fp16":
        raise AcceleratorError("precision='fp16' is not for a TPU, which computes in bf16. Use precision='bf16'.")
    if kind == "amp":
        precision = precision or best_precision(device)
    return AMP(device, precision) if precision in DTYPES else Plain(device)


def with_precision(backend: Backend, precision: str | None) -> Backend:
    """Returns a backend on the device of another one, in a precision of its own; None leaves it as it is."""
    if precision in (None, backend.precision):
        return backend
    kind = backend.device.type
    return select_backend("tpu" if kind in ("xla", "tpu") else str(backend.device), precision)


def available_accelerators() -> dict[str, str]:
    """Returns for each accelerator name "available" or the reason why it is not.

    Example:
        >>> from framework import available_accelerators
        >>> available_accelerators()["cpu"]
        'available'
    """
    return {name: "available" if (probe := _probe(name)).ok else probe.reason for name in ACCELERATORS}


def _nearest_precision(precision: object) -> str:
    """Returns a question for the precision that was meant, with a space before; nothing where none is near."""
    name = str(precision).lower()
    near = [_ELSEWHERE[name]] if name in _ELSEWHERE else difflib.get_close_matches(name, PRECISIONS, n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def _name_of(device: object) -> str:
    return f" Did you mean {str(device)!r}?" if isinstance(device, torch.device) else ""


def _device_of(accelerator: str) -> tuple[str, torch.device]:
    """Returns the accelerator without an index, and its device."""
    if not isinstance(accelerator, str):
        raise AcceleratorError(f"accelerator={accelerator!r} is neither a name nor a Backend.{_name_of(accelerator)} {_listing()}")
    indexed = _DEVICE.fullmatch(accelerator)
    name = indexed[1] if indexed else accelerator
    if name not in ACCELERATORS:
        near = [_GPU[name.lower()]] if name.lower() in _GPU else difflib.get_close_matches(name.lower(), ACCELERATORS, n=1)
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
        return name, torch.device(accelerator)
    if name == "tpu":
        return name, _tpu()
    if name == "apex":
        return name, torch.device("cuda")
    return name, _best_device(tpu=name == "auto") if name in ("auto", "amp") else torch.device(name)


def _tpu() -> torch.device:
    return torch.device("tpu" if has_torch_tpu() else "xla")


def _best_device(*, tpu: bool) -> torch.device:
    if tpu and has_torch_tpu():
        return torch.device("tpu")
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    if tpu and os.environ.get("PJRT_DEVICE") != "CPU" and XLA.probe().ok:  # that one is for debugging
        return torch.device("xla")
    return torch.device("cpu")


def _apex(precision: str | None) -> Backend:
    if precision == "bf16":
        raise AcceleratorError("precision='bf16' is not for accelerator='apex', which casts to fp16. Use accelerator='amp'.")
    return Apex("O0" if precision == "fp32" else "O1")


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
        return probe_tpu()
    return Probe(True)


def _listing() -> str:
    lines = [f"\n  {name!r}: {status}" for name, status in available_accelerators().items()]
    return "The accelerators are:" + "".join(lines)
