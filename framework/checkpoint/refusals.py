"""What a user is told of a value that no checkpoint can hold."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Set as AbstractSet
from datetime import date, time, timedelta
from enum import Enum
from pathlib import PurePath
from typing import Any

import torch
from torch import Tensor, nn

from framework.errors import CheckpointError

_ADVICE: tuple[tuple[type | tuple[type, ...], str], ...] = (  # the first that fits is given
    (PurePath, "Store str(...)."),
    (Enum, "Store its name or value."),
    (timedelta, "Store its total_seconds()."),
    ((date, time), "Store its isoformat()."),
    ((nn.Module, torch.optim.Optimizer), "Store its state_dict()."),
    (torch.Generator, "Store its get_state()."),
    (torch.device, "Store str(...)."),
    (bytearray, "Store bytes(...)."),
    (str, "Store str(...)."),
    (int, "Store int(...)."),
    (float, "Store float(...)."),
    (complex, "Store the pair (z.real, z.imag)."),
    (Mapping, "Store dict(...)."),
    (tuple, "Store tuple(...)."),
    ((list, deque, range), "Store list(...)."),
    (AbstractSet, "Store set(...)."),
)


def refusal(where: str, value: Any) -> CheckpointError:
    """Returns what to raise for a value of a type that is not stored."""
    return CheckpointError(f"{where} is {_named(value)}, which a checkpoint cannot hold. {_advice(value)}")


def _named(value: Any) -> str:
    kind = type(value)
    name = f"numpy.{kind.__name__}" if kind.__module__ == "numpy" else kind.__name__
    return f"{'an' if name[:1] in 'AEIOUaeiou' else 'a'} {name}"


def _advice(value: Any) -> str:
    if isinstance(value, Tensor):
        return "Store its values as a plain torch.Tensor."
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        return "Store torch.from_numpy(...) or its tolist()." if getattr(value, "shape", ()) else "Store its item()."
    for kinds, advice in _ADVICE:
        if isinstance(value, kinds):
            return advice
    return "Store what it is made of: numbers, texts, lists, dicts and tensors."


def tensor_refusal(where: str, tensor: Tensor) -> CheckpointError | None:
    """Returns what to raise for a tensor of a kind that is not stored, None for all others."""
    if tensor.is_nested:
        kind, advice = "a nested tensor", "Store the list that its unbind() gives."
    elif tensor.layout is not torch.strided:
        kind, advice = f"a tensor of layout {tensor.layout}", "Store its to_dense()."
    elif tensor.is_quantized:
        kind, advice = "a quantized tensor", "Store its dequantize(), or its int_repr() and scale."
    elif tensor.is_meta:
        kind, advice = "a tensor on the meta device, without values", "Give it values with to_empty() and a fill."
    else:
        return None
    return CheckpointError(f"{where} is {kind}, which a checkpoint cannot hold. {advice}")


def sharded_refusal(where: str, tensor: Any, storable: bool) -> CheckpointError | None:
    """Returns what to raise for a DTensor of a kind that is not stored, None for all others.

    Args:
        where: what it is called in messages.
        tensor: of which each process holds a part.
        storable: whether its type can be written as it is.
    """
    if any(placement.is_partial() for placement in tensor.placements):
        kind, advice = "a DTensor whose sum over the processes is not made yet", "Store its full_tensor()."
    elif not storable:
        kind, advice = f"a DTensor of {tensor.dtype}", "Store its full_tensor(), or keep it whole in each process."
    else:
        return None
    return CheckpointError(f"{where} is {kind}, which a checkpoint cannot hold. {advice}")
