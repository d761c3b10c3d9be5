"""Activation checkpointing: blocks that keep their inputs alone, and compute the rest anew in the backward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import wraps
from typing import Any

import torch
from torch import nn

from framework.errors import SettingError


@contextmanager
def checkpoint_activations(module: nn.Module, blocks: Sequence[nn.Module]) -> Iterator[None]:
    """Lets each block compute its activations anew in the backward pass, while the block of code runs; names stay as they are.

    The numbers are the same bits as without it: dropout draws what it drew, and buffers such as running means count a batch once.

    Args:
        module: the whole model.
        blocks: parts of it.

    Raises:
        SettingError: there are no blocks.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from framework.distributed.activations import checkpoint_activations
        >>> calls, net = [], nn.Sequential(nn.Linear(2, 2), nn.Tanh())
        >>> _ = net[0].register_forward_hook(lambda *_: calls.append("linear"))
        >>> with checkpoint_activations(net, [net]):
        ...     net(torch.ones(1, 2)).sum().backward()
        >>> calls
        ['linear', 'linear']
    """
    if not blocks:
        raise SettingError(
            f"checkpoint_activations=True: no blocks were found in {type(module).__name__} to compute the activations of anew. "
            "Return them from configure_sharding(self), such as list(self.layers), or leave it out."
        )
    with ExitStack() as stack:
        for block in blocks:
            stack.callback(_recompute(block))
        yield


def _recompute(block: nn.Module) -> Callable[[], None]:
    """Puts another `forward` into the object and returns the function that takes it out again."""
    from torch.utils.checkpoint import checkpoint  # late, since it wakes much

    forward, own = block.forward, "forward" in vars(block)

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _buffers_kept(block)

    @wraps(forward)
    def recomputed(*args: Any, **kwargs: Any) -> Any:
        if not torch.is_grad_enabled():
            return forward(*args, **kwargs)
        return checkpoint(forward, *args, use_reentrant=False, context_fn=contexts, **kwargs)

    def put_back() -> None:
        if own:
            block.forward = forward
        else:
            del block.forward

    block.forward = recomputed
    return put_back


@contextmanager
def _buffers_kept(block: nn.Module) -> Iterator[None]:
    """Puts the buffers back to what they are now."""
    kept = [
        (part._buffers, key, buffer, None if buffer is None else buffer.detach().clone())
        for part in block.modules()
        for key, buffer in part._buffers.items()
    ]
    try:
        yield
    finally:
        for buffers, key, buffer, copy in kept:
            buffers[key] = buffer  # a forward pass may have put another one in its place
            if buffer is not None and copy is not None:
                buffer.data.copy_(copy)  # through .data: graphs that wait for their backward pass do not mind
