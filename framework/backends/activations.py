"""How much a loss keeps in memory until its backward pass."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

_RAW = "_raw_saved_"


def kept_for_backward(loss: Tensor, known: Iterable[Tensor] = ()) -> int | None:
    """Returns the bytes of the tensors that the graph of a loss keeps, memory that several share counted once.

    Looks at the graph and leaves it alone: torch's hooks for saved tensors would hide that one was changed in place.

    Args:
        loss: before its backward pass.
        known: tensors that are there anyway, such as weights and the batch; their memory does not count.

    Returns:
        None where this torch does not show what it keeps.

    Example:
        >>> import torch
        >>> from framework.backends.activations import kept_for_backward
        >>> weight = torch.ones(10, requires_grad=True)
        >>> kept_for_backward(weight.sigmoid().sum())  # the output of sigmoid: 10 numbers of 4 bytes
        40
    """
    if not hasattr(torch._C._autograd.SavedTensor, "data"):
        return None
    counted = {_memory(tensor)[0] for tensor in known}
    total = 0
    for tensor in _saved(loss.grad_fn):
        place, size = _memory(tensor)
        if place not in counted:
            counted.add(place)
            total += size
    return total


def _saved(last: Any) -> Iterator[Tensor]:
    """Yields what the nodes of a graph keep, as it lies there: what was packed by somebody's hook is not unpacked."""
    nodes, seen = [last], {None}
    while nodes:
        node = nodes.pop()
        if node in seen:
            continue
        seen.add(node)
        nodes += [before for before, _ in node.next_functions]
        for name in dir(node):
            if name.startswith(_RAW):
                raw = getattr(node, name)
                for saved in raw if isinstance(raw, tuple) else (raw,):
                    kept = getattr(saved, "data", None)  # None for an argument that was not given
                    if isinstance(kept, Tensor):
                        yield kept


def _memory(tensor: Tensor) -> tuple[Any, int]:
    """Returns where a tensor lies and how many bytes are there."""
    if tensor.layout is torch.strided and tensor.device.type not in ("xla", "meta") and not torch.nn.parameter.is_lazy(tensor):
        storage = tensor.untyped_storage()
        return storage._cdata, storage.nbytes()
    return id(tensor), 0 if torch.nn.parameter.is_lazy(tensor) else tensor.numel() * tensor.element_size()
