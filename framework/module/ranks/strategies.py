"""Which strategy a run has, and the processes that it joins for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from framework.backends.base import Backend
from framework.distributed.blocks import find_blocks
from framework.distributed.ddp import DDP, Replicated
from framework.distributed.fsdp import FSDP, refuse_unsupported
from framework.distributed.group import Group, joined
from framework.distributed.launch import find_launch
from framework.distributed.parallel import Parallel
from framework.distributed.strategy import Strategy
from framework.errors import SettingError
from framework.module.settings import FitSettings

_BY_NAME = {"ddp": DDP, "fsdp": FSDP}


def strategy_of(settings: FitSettings) -> Strategy | None:
    """Returns the strategy that was asked for; None for "auto"."""
    if isinstance(settings.strategy, Strategy):
        return settings.strategy
    return _BY_NAME[settings.strategy]() if settings.strategy in _BY_NAME else None


@contextmanager
def joined_for(settings: FitSettings, device: torch.device) -> Iterator[Group | None]:
    """Joins the processes of a `fit` while the block runs; None where there is one.

    Raises:
        SettingError: a strategy for several processes, and this one was started alone.
    """
    strategy = strategy_of(settings)
    if strategy is not None and not _is_started_in_a_group():
        raise SettingError(
            f"strategy={settings.strategy!r} trains with the processes that torchrun starts, and this one was started alone. Start "
            "the script by torchrun --nproc-per-node 2 train.py (1 is allowed as well), or leave strategy out: 'auto' takes what "
            "it finds."
        )
    with joined(device, alone=isinstance(strategy, FSDP)) as group:
        yield group


def _is_started_in_a_group() -> bool:
    return find_launch() is not None or (torch.distributed.is_available() and torch.distributed.is_initialized())


def parallel(module: nn.Module, backend: Backend, settings: FitSettings, group: Group | None) -> Backend:
    """Returns the backend that trains with the whole group; the backend itself where there is one process.

    Raises:
        SettingError: the strategy does not go with something else that was asked for.
    """
    if group is None:
        return backend
    strategy = strategy_of(settings) or DDP()
    if isinstance(strategy, FSDP):
        refuse_unsupported(module, settings)
    return strategy.over(backend, group, find_blocks)


def group_of(backend: Backend) -> Group | None:
    """Returns the processes that a backend trains with, None for one alone."""
    return backend.group if isinstance(backend, Parallel) else None


def mesh_of(backend: Backend) -> Any:
    """Returns the mesh of the devices that have a part of the weights each; None where each process has all of them."""
    return getattr(backend, "mesh", None)


def afterwards(backend: Backend) -> Backend:
    """Returns the backend that evaluations after `fit` use: where each process has all weights, the one of the process alone."""
    return backend.inner if isinstance(backend, Replicated) else backend
