"""Whether tensors are finite, asked with one wait for the device."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

import torch
from torch import Tensor


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Tells whether no entry of the tensors is NaN or infinite. Waits once, however many there are."""
    norms = [torch.linalg.vector_norm(each, inf) for tensor in tensors if (each := _entries(tensor)).numel()]
    return not norms or bool(torch.stack([norm.to(norms[0].device) for norm in norms]).isfinite().all())


def count_non_finite(tensor: Tensor) -> int:
    """Returns how many entries are NaN or infinite."""
    return int((~_entries(tensor).isfinite()).sum())


def _entries(tensor: Tensor) -> Tensor:
    """Returns the entries that may be other than finite: none of whole numbers, the stored ones of a sparse tensor."""
    tensor = tensor.detach()
    if not (tensor.is_floating_point() or tensor.is_complex()) or tensor.device.type == "meta":
        return torch.empty(0)
    if tensor.layout is torch.strided:
        return tensor
    return tensor._values() if tensor.layout is torch.sparse_coo else tensor.values()
