"""Parameters, gradients and optimizer states split over the processes, by torch's `fully_shard`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from inspect import isgeneratorfunction
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import nn

from framework.backends.base import Backend
from framework.distributed.sharding import Sharded
from framework.distributed.strategy import Strategy
from framework.errors import SettingError

if TYPE_CHECKING:
    from framework.distributed.group import Group

_COMPUTES = {"bf16": torch.bfloat16, "fp16": torch.float16}
_TYPES = (torch.float32, torch.bfloat16, torch.float16)


@dataclass(frozen=True, kw_only=True)
class FSDP(Strategy):
    """Each process has an equal part of every parameter, its gradient and its optimizer state; blocks are gathered to be computed.

    A model of N bytes takes N / processes of them on each, and one or two whole blocks. The gradients of every batch are reduced at
    once, also inside a window of accumulation: to keep them whole until its end would take the memory that is saved here.

    With `precision="bf16"` blocks are gathered in bfloat16 and take their inputs in it; what is outside of blocks is not. On the
    host each process makes the whole model first. Parameters that the steps use are those of the whole module or of a block that
    is being called; elsewhere, such as in hooks, they are `torch.distributed.tensor.DTensor`s.

    Args:
        reshard_after_forward: free a block after its forward pass and gather it again for its backward pass; else keep it.
        offload: keep parameters, gradients and optimizer states in the memory of the host. For GPUs.
        param_dtype: type in which blocks are gathered and computed; None for bfloat16 with `precision="bf16"`, else float32.
        reduce_dtype: type in which gradients are added up over processes; None for float32.

    Raises:
        SettingError: a setting of a wrong type.

    Example:
        >>> from framework import FSDP
        >>> FSDP(offload=True).offload
        True
    """

    name: ClassVar[str] = "fsdp"

    reshard_after_forward: bool = True
    offload: bool = False
    param_dtype: torch.dtype | None = None
    reduce_dtype: torch.dtype | None = None

    def __post_init__(self) -> None:
        for name in ("reshard_after_forward", "offload"):
            value = getattr(self, name)
            if not isinstance(value, bool):
                raise SettingError(f"FSDP({name}={value!r}): it is True or False, got {type(value).__name__}.")
        for name in ("param_dtype", "reduce_dtype"):
            value = getattr(self, name)
            if value is not None and value not in _TYPES:
                raise SettingError(f"FSDP({name}={value!r}): it is torch.float32, torch.bfloat16, torch.float16 or None.")

    def over(self, backend: Backend, group: Group, blocks: Callable[[nn.Module], Sequence[nn.Module]]) -> Sharded:
        if backend.device.type not in ("cpu", "cuda") or backend.stepped_parameters is not None or backend.reduce is not None:
            raise SettingError(
                f"strategy='fsdp' does not go with {backend.name} in {backend.precision} on {backend.device}. It works on cpu and "
                "cuda, in full precision and with accelerator='amp'."
            )
        if self.offload and backend.device.type == "cpu":
            raise SettingError(
                "FSDP(offload=True) moves what a GPU does not need at the moment to the memory of the host, and the run is on cpu. "
                "Leave offload out."
            )
        param_dtype = self.param_dtype or (torch.bfloat16 if backend.precision == "bf16" else torch.float32)
        if param_dtype not in (torch.float32, _COMPUTES.get(backend.precision)):
            raise SettingError(
                f"FSDP(param_dtype={param_dtype}) in precision {backend.precision!r}: what is outside of blocks would be computed "
                "in another type than they. Give fit precision='bf16' or 'fp16' as well, or leave param_dtype out."
            )
        resolved = replace(self, param_dtype=param_dtype, reduce_dtype=self.reduce_dtype or torch.float32)
        return Sharded(resolved, backend, group, blocks)


def refuse_unsupported(module: nn.Module, settings: Any) -> None:
    """Refuses what `fit` was told that sharding does not go with.

    Args:
        module: to be trained.
        settings: what `fit` was told.

    Raises:
        SettingError: saying what, and what to do.
    """
    ddp = "or use strategy='ddp'"
    for given, advice in {
        "debug=True": f"runs a step again on one process, which has parts of the parameters only. Leave debug out, {ddp}",
        "dry_run=True": "would leave the module in parts. Dry-run it with strategy='ddp' or in one process",
        "async_save=True": f"copies the state of one process. Leave async_save out, {ddp}",
    }.items():
        if getattr(settings, given.removesuffix("=True")):
            raise SettingError(f"{given} does not go with strategy='fsdp': it {advice}.")
    if isgeneratorfunction(getattr(module, "training_step", None)):
        raise SettingError(
            f"{type(module).__name__}.training_step yields its losses, which strategy='fsdp' does not allow: it reduces "
            f"gradients in one backward pass over all parameters. Return one loss, {ddp}."
        )
