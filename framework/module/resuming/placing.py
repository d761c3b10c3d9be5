"""Saved tensors in the form of those that they go into: whole, or split over processes, whatever wrote them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from framework.checkpoint.sharded import is_dtensor


def mesh_of(tensors: Mapping[str, Any]) -> Any:
    """Returns the mesh of processes over which tensors are split; None where they are whole."""
    return next((each.device_mesh for each in tensors.values() if is_dtensor(each)), None)


def placed_like(saved: Any, own: Any) -> Any:
    """Returns a saved tensor in the form that another one has.

    Where a split one becomes whole, or is split in another way, all processes take part. A whole one is there in each process
    already, and each takes its part.

    Args:
        saved: read from a file.
        own: of the same shape.
    """
    if is_dtensor(saved):
        return saved.redistribute(own.device_mesh, own.placements) if is_dtensor(own) else saved.full_tensor()
    if is_dtensor(own):
        from torch.distributed.tensor import distribute_tensor

        part = distribute_tensor(saved, own.device_mesh, own.placements, src_data_rank=None)
        return part.clone()  # which lets go of the whole
    return saved


def placed_by_name(state: Any, own: Mapping[str, Tensor]) -> Any:
    """Returns a state with the tensors in it that are named and shaped as weights in the form of these, such as averages of them.

    Args:
        state: any nesting of dicts, lists and tuples.
        own: the weights by name.
    """
    if type(state) is dict:
        return {
            key: placed_like(value, own[key]) if _is_of(value, own.get(key)) else placed_by_name(value, own)
            for key, value in state.items()
        }
    if type(state) in (list, tuple):
        return type(state)(placed_by_name(item, own) for item in state)
    return state


def placed_by_shape(state: Any, own: Tensor) -> Any:
    """Returns the state that an optimizer keeps of a parameter, its tensors of the parameter's shape in the form of the parameter.

    Others stay as they are, and become whole where the parameter is whole.

    Args:
        state: any nesting of dicts, lists and tuples.
        own: the parameter.
    """
    if type(state) is dict:
        return {key: placed_by_shape(value, own) for key, value in state.items()}
    if type(state) in (list, tuple):
        return type(state)(placed_by_shape(item, own) for item in state)
    if _is_of(state, own):
        return placed_like(state, own)
    return state.full_tensor() if is_dtensor(state) and not is_dtensor(own) else state


def load_module(module: nn.Module, saved: Mapping[str, Any], *, strict: bool = True) -> None:
    """Gives a module saved weights, whole or split over processes, in place.

    Args:
        module: whose parameters stay the same objects.
        saved: what its `state_dict` returned, in a run of any number of processes.
        strict: as for `load_state_dict`.
    """
    own = module.state_dict()
    placed = {name: placed_like(value, own[name]) if _is_of(value, own.get(name)) else value for name, value in saved.items()}
    module.load_state_dict(placed, strict=strict)


def _is_of(saved: Any, own: Any) -> bool:
    return isinstance(saved, Tensor) and isinstance(own, Tensor) and not nn.parameter.is_lazy(own) and saved.shape == own.shape
