"""What torchrun tells each process that it starts."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch.distributed

from framework.errors import SettingError

_NUMBERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
_PLACE = ("MASTER_ADDR", "MASTER_PORT")
_ADVICE = "Start the script with torchrun, which sets them all, or unset them to run in one process."


@dataclass(frozen=True)
class Launch:
    """The place of this process among those that were started together.

    Attributes:
        rank: its number among all, from 0.
        world_size: how many there are.
        local_rank: its number among those of its machine, from 0.
    """

    rank: int
    world_size: int
    local_rank: int


def find_launch() -> Launch | None:
    """Returns what the environment says of the launch; None where the process was started alone.

    Only torchrun's variables count. A Slurm job of several tasks without torchrun in them is no launch.

    Raises:
        SettingError: some of the variables are missing, or they contradict each other.

    Example:
        >>> from framework.distributed.launch import find_launch
        >>> find_launch() is None
        True
    """
    if not any(name in os.environ for name in _NUMBERS):
        return None
    if missing := [name for name in (*_NUMBERS, *_PLACE) if not os.environ.get(name)]:
        given = ", ".join(f"{name}={os.environ[name]}" for name in _NUMBERS if os.environ.get(name))
        raise SettingError(f"The environment says {given or 'nothing'} but lacks {', '.join(missing)}. {_ADVICE}")
    launch = Launch(*(_number(name) for name in _NUMBERS))
    if not 0 <= launch.local_rank <= launch.rank < launch.world_size:
        raise SettingError(
            f"The environment contradicts itself: RANK={launch.rank}, WORLD_SIZE={launch.world_size}, "
            f"LOCAL_RANK={launch.local_rank}; a rank is below the world size, a local rank not above the rank. {_ADVICE}"
        )
    return launch


def rank() -> int:
    """Returns the number of this process among those of the run: 0 for the main one, and for one that was started alone.

    Example:
        >>> from framework import rank
        >>> if rank() == 0:
        ...     print("written once")
        written once
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank()
    launch = find_launch()
    return 0 if launch is None else launch.rank


def world_size() -> int:
    """Returns how many processes there are in the run: 1 where it was started alone.

    Example:
        >>> from framework import world_size
        >>> world_size()
        1
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_world_size()
    launch = find_launch()
    return 1 if launch is None else launch.world_size


def _number(name: str) -> int:
    value = os.environ[name]
    if not value.isdecimal():
        raise SettingError(f"{name}={value!r} in the environment is not a whole number from 0. {_ADVICE}")
    return int(value)
