"""Draws how large gradients and parameters are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from framework.engine.engine import Engine
from framework.errors import SettingError
from framework.handlers.gauges import add_gauge


class Norms:
    """Adds the 2-norms of gradients and parameters to the curves, for each optimizer.

    Measured right before a step, when the gradients have their true size and are not yet clipped: in the first step at or after
    every `every` iterations. The curves are "train/grad_norm" and "train/param_norm"; of several optimizers
    "train/grad_norm/<optimizer>". Their points have the newest measurement since the point before. The norms stay on their device
    until then; no step waits for them. A step that a gradient scaler is about to skip has a norm that is infinite or NaN.

    Args:
        every: iterations.
        layers: also for each layer that has parameters of its own: "train/layer_grad_norm/<layer>" and
            "train/layer_param_norm/<layer>", of several optimizers with the optimizer before the layer. "other" are parameters that
            are not the module's, such as the copies that Apex steps.

    Raises:
        SettingError: a value of a wrong type or out of range.

    Example:
        >>> import torch
        >>> from framework import Norms, TrainModule
        >>> class Line(TrainModule):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.weight = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
        ...     def training_step(self, batch):
        ...         return self.weight.square().sum() / 2
        ...     def configure_optimizers(self):
        ...         return torch.optim.SGD(self.parameters(), lr=0.5)
        >>> result = Line().fit([0], max_epochs=2, handlers=[Norms(every=1)], progress=False)
        >>> [point.value for point in result.series["train/grad_norm"]]
        [5.0, 2.5]
    """

    all_ranks = True  # each may have a part of every tensor

    def __init__(self, *, every: int = 10, layers: bool = False) -> None:
        if not isinstance(every, int) or isinstance(every, bool) or every < 1:
            raise SettingError(f"every={every!r}: every should be a whole number of at least 1 (iterations).")
        if not isinstance(layers, bool):
            raise SettingError(f"layers={layers!r}: layers should be True or False, got {type(layers).__name__}.")
        self.every = every
        self.layers = layers
        self._measured: dict[str, int] = {}  # by optimizer, the iteration
        self._newest: dict[str, dict[str, Any]] = {}  # by optimizer, what no point has yet

    def on_started(self, engine: Engine) -> None:
        """Begins to draw, anew unless the run goes on."""
        add_gauge(engine, self, self._read)
        if engine.state.iteration == 0:
            self._measured, self._newest = {}, {}  # the object may have served another run

    def on_optimizer_step_started(self, engine: Engine, optimizer: Optimizer) -> None:
        """Measures, where that is due."""
        state = engine.state
        name = next(name for name, each in state.optimizers.items() if each is optimizer)
        if state.iteration // self.every > self._measured.get(name, 0) // self.every:
            self._measured[name] = state.iteration
            ending = f"/{name}" if len(state.optimizers) > 1 else ""
            found = self._measure(optimizer, ending, state.module)
            self._newest[name] = {"names": list(found), "norms": torch.stack(list(found.values()))}

    def state_dict(self) -> dict[str, Any]:
        """Returns when was measured last, and what no point has yet."""
        return {"measured": dict(self._measured), "newest": dict(self._newest)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from there."""
        self._measured, self._newest = dict(state["measured"]), dict(state["newest"])

    def _read(self, iteration: int) -> dict[str, float]:
        read: dict[str, float] = {}
        for newest in self._newest.values():
            read.update(zip(newest["names"], newest["norms"].tolist(), strict=True))
        self._newest.clear()
        return read

    @torch.no_grad()
    def _measure(self, optimizer: Optimizer, ending: str, module: nn.Module) -> dict[str, Tensor]:
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        with_gradient = [parameter for parameter in parameters if parameter.grad is not None]
        gradients = _norms([parameter.grad for parameter in with_gradient])
        norms = _norms(parameters)
        found = {f"grad_norm{ending}": _total(gradients, norms), f"param_norm{ending}": _total(norms, norms)}
        if self.layers:
            owners = _owners(module)
            for kind, measured, each in (("grad", with_gradient, gradients), ("param", parameters, norms)):
                for layer, own in _by_layer(measured, each, owners):
                    found[f"layer_{kind}_norm{ending}/{layer}"] = _total(own, own)
        return found


def _norms(tensors: list[Tensor]) -> list[Tensor]:
    """Returns the norm of each tensor, of one type and on one device."""
    norms = torch._foreach_norm([_dense(tensor) for tensor in tensors]) if tensors else ()
    alike = [norm.to(norms[0].device, torch.float32) for norm in norms]
    return _of_all_parts(alike, tensors)


def _of_all_parts(norms: list[Tensor], tensors: list[Any]) -> list[Tensor]:
    """Returns the norms of whole tensors, where these are of the parts that this process has."""
    split = [index for index, tensor in enumerate(tensors) if hasattr(tensor, "to_local")]
    if split:
        squares = torch.stack([norms[index].square() for index in split])
        torch.distributed.all_reduce(squares, group=tensors[split[0]].device_mesh.get_group())
        for index, norm in zip(split, squares.sqrt(), strict=True):
            norms[index] = norm
    return norms


def _dense(tensor: Any) -> Tensor:
    """Returns a tensor with the same norm that is dense and real; the part that this process has of one that is split."""
    tensor = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    values = tensor.coalesce().values() if tensor.is_sparse else tensor
    return torch.view_as_real(values) if values.is_complex() else values


def _total(norms: list[Tensor], there: list[Tensor]) -> Tensor:
    """Returns the norm of all tensors together; 0 for none, beside those that are `there`."""
    return torch.linalg.vector_norm(torch.stack(norms)) if norms else torch.zeros_like(there[0])


def _owners(module: nn.Module) -> dict[nn.Parameter, str]:
    """Returns the layer of each parameter; one that the module holds itself stands for its own."""
    return {parameter: name.rpartition(".")[0] or name for name, parameter in module.named_parameters()}


def _by_layer(
    parameters: list[nn.Parameter], norms: list[Tensor], owners: Mapping[nn.Parameter, str]
) -> Iterator[tuple[str, list[Tensor]]]:
    layers: dict[str, list[Tensor]] = {}
    for parameter, norm in zip(parameters, norms, strict=True):
        layers.setdefault(owners.get(parameter, "other"), []).append(norm)
    yield from layers.items()
