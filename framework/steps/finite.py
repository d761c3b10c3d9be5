"""Whether tensors are finite, asked with one wait for the device. All processes ask of tensors that are split over them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf
from typing import Any

import torch
from torch import Tensor


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Tells whether no entry of the tensors is NaN or infinite. Waits once, however many there are."""
    asked = list(tensors)
    norms = [torch.linalg.vector_norm(each, inf) for tensor in asked if (each := _entries(tensor)).numel()]
    finite = torch.stack([norm.to(norms[0].device) for norm in norms]).isfinite().all() if norms else torch.tensor(True)
    return bool(_on_all(finite, asked))


def which_finite(tensors: Sequence[Tensor], device: torch.device) -> list[bool]:
    """Tells of each tensor whether no entry is NaN or infinite. Waits once, with the answers on `device`."""
    finite = [_entries(tensor).isfinite().all().to(device) for tensor in tensors]
    answers: list[bool] = _on_all(torch.stack(finite), tensors).tolist() if finite else []
    return answers


def count_non_finite(tensor: Tensor) -> int:
    """Returns how many entries are NaN or infinite."""
    return int((~_entries(tensor).isfinite()).sum())


def _on_all(finite: Tensor, tensors: Iterable[Any]) -> Tensor:
    """Returns the answers of all processes together, where a tensor is split over them."""
    mesh = next((tensor.device_mesh for tensor in tensors if hasattr(tensor, "device_mesh")), None)
    if mesh is None:
        return finite
    flags = finite.int()
    torch.distributed.all_reduce(flags, torch.distributed.ReduceOp.MIN, group=mesh.get_group())
    return flags.bool()


def _entries(tensor: Any) -> Tensor:
    """Returns the entries that may be other than finite: none of whole numbers, the stored ones of a sparse tensor.

    Of a tensor that is split over processes they are those of this one.
    """
    tensor = tensor.detach()
    if hasattr(tensor, "to_local"):
        tensor = tensor.to_local()
    if not (tensor.is_floating_point() or tensor.is_complex()) or tensor.device.type == "meta":
        return torch.empty(0)
    entries: Tensor = tensor
    if tensor.layout is not torch.strided:
        entries = tensor._values() if tensor.layout is torch.sparse_coo else tensor.values()
    return entries
