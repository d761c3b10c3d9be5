"""Whose parameters an optimizer holds: the model's, also after a move that has replaced them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from framework.backends.tree import tensors_in
from framework.errors import ModuleError


def parameters_of(optimizers: Iterable[Optimizer]) -> Iterator[nn.Parameter]:
    """Yields the parameters that the optimizers step, in their order, each once."""
    yield from dict.fromkeys(
        parameter for optimizer in optimizers for group in optimizer.param_groups for parameter in group["params"]
    )


def move_model(model: nn.Module, device: torch.device) -> dict[nn.Parameter, nn.Parameter]:
    """Moves a model to a device and returns, for each parameter that this has replaced, the new one.

    `model.to` keeps parameters where both devices hold the same kind of tensor and makes new ones elsewhere (torch_xla). It then
    also unties tied parameters; they are tied again here.

    Raises:
        ModuleError: a parameter is on the meta device, where it has no numbers.
    """
    before = dict(model.named_parameters(remove_duplicate=False))
    empty = [name for name, parameter in before.items() if parameter.is_meta]
    if empty and device.type != "meta":
        raise ModuleError(
            f"{len(empty)} parameters of {type(model).__name__} are on the meta device, where they have no numbers: "
            f"{', '.join(empty[:3])}{', ...' if len(empty) > 3 else ''}. Make the module outside of torch.device('meta'); or call "
            "to_empty(device='cpu') and fill in the weights before fit."
        )
    model.to(device)
    replaced: dict[nn.Parameter, nn.Parameter] = {}
    for name, old in before.items():
        path, _, leaf = name.rpartition(".")
        part = model.get_submodule(path)
        new = getattr(part, leaf)
        if new is not old and replaced.setdefault(old, new) is not new:
            setattr(part, leaf, replaced[old])
    return replaced


def rebind(optimizers: Iterable[Optimizer], replaced: Mapping[nn.Parameter, nn.Parameter], device: torch.device) -> None:
    """Makes optimizers step the new parameters instead of the replaced ones, and moves their state along.

    The lists in their groups stay the same objects: LBFGS keeps one of them, and would train nothing with another.
    """
    for optimizer in optimizers:
        moved = any(parameter in replaced for parameter in parameters_of((optimizer,)))
        state_of = tensors_in(list(optimizer.state.values()))
        if not moved and not any(_is_elsewhere(tensor, device) for tensor in state_of if tensor.dim()):
            continue
        state = optimizer.state_dict()  # by position in the groups
        for group in optimizer.param_groups:
            group["params"][:] = [replaced.get(parameter, parameter) for parameter in group["params"]]
        optimizer.load_state_dict(state)  # moves each to the device of its parameter


def _is_elsewhere(tensor: Tensor, device: torch.device) -> bool:
    return tensor.device.type != device.type or device.index not in (None, tensor.device.index)


def refuse_foreign(model: nn.Module, optimizers: Mapping[str, Optimizer], device: torch.device) -> None:
    """Refuses optimizers that could not train the model.

    Raises:
        ModuleError: one holds a parameter that is not the model's, that another one holds as well, or that is elsewhere.
    """
    own = {id(parameter) for parameter in model.parameters()}
    holders: dict[int, str] = {}
    for name, optimizer in optimizers.items():
        for parameter in parameters_of((optimizer,)):
            if id(parameter) not in own:
                raise ModuleError(
                    f"Optimizer {name!r} ({type(optimizer).__name__}) holds a parameter of shape {tuple(parameter.shape)} "
                    f"that is not one of {type(model).__name__}'s. Make the optimizer in configure_optimizers from "
                    "self.parameters(); a module kept in a list or dict is not registered: use nn.ModuleList or nn.ModuleDict."
                )
            if holders.setdefault(id(parameter), name) != name:
                raise ModuleError(
                    f"Optimizers {holders[id(parameter)]!r} and {name!r} both hold the parameter of shape "
                    f"{tuple(parameter.shape)}; "
                    "it would be updated twice. Give each its own parameters."
                )
            if parameter.device.type != device.type and not hasattr(parameter, "device_mesh"):  # a part may lie elsewhere
                raise ModuleError(
                    f"Optimizer {name!r} holds a parameter on {parameter.device}, the step runs on {device}. "
                    "Leave moving to fit: remove .to(...) and .cuda() from the module."
                )
