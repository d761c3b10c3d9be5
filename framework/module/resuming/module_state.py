"""What a module's state_dict leaves out but a run that goes on needs: modes, frozen parameters, other buffers, metric sums."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from framework.errors import ResumeError


def dump_rest(module: nn.Module) -> dict[str, Any]:
    """Returns modes, frozen parameters, buffers that are not persistent, and the sums of metrics inside the module."""
    persistent = module.state_dict(keep_vars=True)
    return {
        "eval": [name for name, part in module.named_modules() if not part.training],
        "frozen": [name for name, parameter in module.named_parameters() if not parameter.requires_grad],
        "buffers": {name: buffer for name, buffer in _named_buffers(module) if name not in persistent},
        "metrics": {name: _dump_metric(part) for name, part in module.named_modules() if _is_metric(part)},
    }


def load_rest(module: nn.Module, saved: Mapping[str, Any]) -> None:
    """Takes up what `dump_rest` returned.

    Raises:
        ResumeError: there is a buffer of a part that the module has not.
    """
    evaluating, frozen = set(saved["eval"]), set(saved["frozen"])
    for name, part in module.named_modules():
        part.training = name not in evaluating
        if name in saved["metrics"]:
            _load_metric(part, saved["metrics"][name])
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(name not in frozen)
    _load_buffers(module, saved["buffers"])


def _load_buffers(module: nn.Module, saved: Mapping[str, Tensor | None]) -> None:
    device = next((tensor.device for tensor in chain(module.parameters(), module.buffers())), torch.device("cpu"))
    parts = dict(module.named_modules(remove_duplicate=False))
    placed: dict[int, Tensor] = {}  # shared ones stay shared
    for name, value in saved.items():
        owner, _, key = name.rpartition(".")
        part = parts.get(owner)
        if part is None:
            raise ResumeError(
                f"The run has a buffer {name}, and this {type(module).__name__} has no part {owner!r}. Make the module as it was, "
                "or start a new run in another run_dir."
            )
        own = part._buffers.get(key)
        if value is not None:
            value = placed.setdefault(id(value), value.to(device if own is None else own.device))
        if key in part._buffers:
            part._buffers[key] = value
        else:  # made in the run
            part.register_buffer(key, value, persistent=False)


def _named_buffers(module: nn.Module) -> Iterator[tuple[str, Tensor | None]]:
    """Yields all buffers by name: those without a value too, and one that several parts share under each name."""
    for name, part in module.named_modules():
        for key, buffer in part._buffers.items():
            yield f"{name}.{key}" if name else key, buffer


def _is_metric(part: nn.Module) -> bool:
    """Tells whether it is a torchmetrics metric: its sums are in no state_dict unless asked for."""
    return hasattr(part, "metric_state") and hasattr(part, "_update_count")


def _dump_metric(metric: Any) -> dict[str, Any]:
    return {"count": metric._update_count, "sums": dict(metric.metric_state)}


def _load_metric(metric: Any, saved: Mapping[str, Any]) -> None:
    for name, value in saved["sums"].items():
        setattr(
            metric, name, [item.to(metric.device) for item in value] if isinstance(value, list) else _placed(value, metric.device)
        )
    metric._update_count, metric._computed = saved["count"], None


def _placed(value: Any, device: Any) -> Any:
    return value.to(device) if isinstance(value, Tensor) else value
