"""The buffers of a module as they are now, to put back after a step that leaves no trace."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn


def keep_buffers(module: nn.Module) -> Callable[[], None]:
    """Copies all buffers and returns the function that puts them back; those that have no value stay without one."""
    kept = [
        (part, key, buffer, None if buffer is None else buffer.detach().clone())
        for part in module.modules()
        for key, buffer in part._buffers.items()
        if buffer is None or not nn.parameter.is_lazy(buffer)
    ]

    @torch.no_grad()
    def put_back() -> None:
        for part, key, buffer, copy in kept:
            part._buffers[key] = buffer  # a step may have put another one in its place
            if buffer is not None and copy is not None:
                buffer.copy_(copy)

    return put_back
