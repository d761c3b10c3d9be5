"""The calls of the submodules of a module, as they happen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn


@contextmanager
def watched_calls(module: nn.Module, entered: Callable[[str, Any], None], left: Callable[[str, Any], None]) -> Iterator[None]:
    """Tells of each call of a submodule while the block runs.

    Args:
        module: its submodules are looked at, not itself.
        entered: called with name and class, such as "net.2 (ReLU)", and what the submodule is called with.
        left: called with the same name, and what it has returned; with None where it raised.
    """
    with ExitStack() as stack:
        for name, part in module.named_modules():
            if name and not isinstance(part, torch.jit.ScriptModule):  # whose calls cannot be seen from here
                _watch(f"{name} ({type(part).__name__})", part, entered, left, stack)
        yield


def _watch(
    name: str, part: nn.Module, entered: Callable[[str, Any], None], left: Callable[[str, Any], None], stack: ExitStack
) -> None:
    def enter(_: nn.Module, arguments: Any, keywords: Any) -> None:
        entered(name, (*arguments, keywords))

    def leave(_: nn.Module, arguments: Any, output: Any) -> None:
        left(name, output)

    stack.callback(part.register_forward_pre_hook(enter, prepend=True, with_kwargs=True).remove)
    stack.callback(part.register_forward_hook(leave, always_call=True).remove)
