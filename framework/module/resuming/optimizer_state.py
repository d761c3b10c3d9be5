"""The state of an optimizer by the names of its parameters, so that another process finds them again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from framework.errors import ResumeError
from framework.module.resuming.placing import placed_by_shape


def dump_optimizer(optimizer: Optimizer, names: Mapping[nn.Parameter, str]) -> dict[str, Any]:
    """Returns the state of an optimizer.

    Args:
        optimizer: of parameters of the module.
        names: of the module's parameters.
    """
    groups = [[names[parameter] for parameter in group["params"]] for group in optimizer.param_groups]
    state = optimizer.state_dict()
    hypers = [{key: _copied(value) for key, value in group.items()} for group in state["param_groups"]]
    return {"names": groups, **state, "param_groups": hypers}


def _copied(value: Any) -> Any:
    """Returns a learning rate that is a tensor as a copy: schedules change it in place, also before the state is written."""
    return value.clone() if isinstance(value, Tensor) else value


def load_optimizer(optimizer: Optimizer, saved: Mapping[str, Any], parameters: Mapping[str, nn.Parameter], name: str) -> None:
    """Takes up a saved state. Groups that were added in the run, as unfreezing does, are added again.

    Args:
        optimizer: as `configure_optimizers` made it.
        saved: what `dump_optimizer` returned.
        parameters: of the module, by name.
        name: of the optimizer, for the message.

    Raises:
        ResumeError: it holds other parameters, or in other groups.
    """
    known = {parameter: key for key, parameter in parameters.items()}
    now = [[known[parameter] for parameter in group["params"]] for group in optimizer.param_groups]
    if now != saved["names"][: len(now)]:
        raise ResumeError(
            f"The optimizer {name!r} holds other parameters, or in another order, than in the run: {_text(now)} now, "
            f"{_text(saved['names'])} then. Make configure_optimizers return what it returned then."
        )
    for group in saved["names"][len(now) :]:
        optimizer.add_param_group({"params": [parameters[key] for key in group]})
    flat = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    of_one = {index: placed_by_shape(values, flat[index]) for index, values in saved["state"].items() if isinstance(index, int)}
    state = {**saved["state"], **of_one}
    optimizer.load_state_dict({key: value for key, value in saved.items() if key != "names"} | {"state": state})
    for index, values in of_one.items():  # what is of the whole optimizer was not cast
        own = optimizer.state[flat[index]]
        own.update(_typed_as(values, own))


def _typed_as(saved: Any, own: Any) -> Any:
    """Returns `own` with its tensors, also those in containers, in the types that they have in `saved`.

    `load_state_dict` has cast them to the type of their parameter.
    """
    if isinstance(saved, Tensor) and isinstance(own, Tensor):
        return own if own.dtype == saved.dtype else saved.to(own.device)
    if isinstance(saved, dict) and isinstance(own, dict):
        return {key: _typed_as(saved[key], value) if key in saved else value for key, value in own.items()}
    if isinstance(saved, list | tuple) and type(saved) is type(own) and len(saved) == len(own):
        return type(own)(_typed_as(one, other) for one, other in zip(saved, own, strict=True))
    return own


def _text(groups: list[list[str]]) -> str:
    return "; ".join(
        f"group {index}: {', '.join(group[:4])}{', ...' if len(group) > 4 else ''}" for index, group in enumerate(groups)
    )
