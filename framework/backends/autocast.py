"""Forward passes in a lower precision."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import torch

F = TypeVar("F", bound=Callable[..., Any])
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def in_autocast(function: F, device_type: str, precision: str) -> F:
    """Returns `function` such that each call runs under `torch.autocast` for that kind of device and precision."""
    from torch.amp import autocast  # looked up now, so that a replaced one is used

    dtype = DTYPES[precision]

    @wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with autocast(device_type, dtype=dtype):
            return function(*args, **kwargs)

    return wrapped  # type: ignore[return-value]


def best_precision(device: torch.device) -> str:
    """Returns the mixed precision a device is best at: bf16 where it is native, else fp16."""
    if device.type == "mps" or (device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False)):
        return "fp16"
    return "bf16"
