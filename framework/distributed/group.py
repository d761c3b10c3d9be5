"""The processes of a run: joined at its beginning, left at its end."""

from __future__ import annotations

import atexit
import gc
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from importlib import import_module
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed import HashStore, PrefixStore, Store  # type: ignore[attr-defined]  # public, though not in its list
from torch.distributed.rendezvous import rendezvous

from framework.distributed.blame import Blame
from framework.distributed.exchange import Exchange
from framework.distributed.forks import keep_from_collecting
from framework.distributed.launch import Launch, find_launch
from framework.distributed.lookout import Lookout
from framework.distributed.meeting import meet, tell_end
from framework.distributed.whereabouts import Whereabouts
from framework.errors import AcceleratorError

_BACKENDS = {"cpu": "gloo", "cuda": "cpu:gloo,cuda:nccl", "xla": "xla"}
_ANY_TIME = timedelta(days=365)  # a hook of one rank may take as long as it likes while the others wait in an exchange


class Group:
    """The processes of a run, seen from one of them. What goes between them here goes over the CPU, and waits for no GPU.

    All ranks must make the same exchanges in the same order. Those that do not are told so by an error on all of them.

    Attributes:
        rank: number of this process, from 0.
        world_size: how many there are.
        local_rank: number of this process on its machine.
        iteration: that this rank has begun last; whoever runs the loop writes it, and it only grows.
        blame: for a watchdog whose patience is at its end: takes the place where this rank is, returns the one line of a rank that
            only waits for others, or None where it is to tell all. Called in the watchdog's thread.
        stays: what is left on leaving has parts in these processes, so torch's group is there until the process ends.

    Example:
        >>> import torch
        >>> from framework.distributed.group import joined
        >>> with joined(torch.device("cpu"), alone=True) as group:
        ...     group.is_main, group.exchange("sizes", 3), group.sums("losses", [0.5, 2])
        (True, [3], [0.5, 2.0])
    """

    def __init__(self, launch: Launch, exchange: Exchange, blame: Callable[[str], str | None]) -> None:
        self.rank = launch.rank
        self.world_size = launch.world_size
        self.local_rank = launch.local_rank
        self.iteration = 0
        self.blame = blame
        self.stays = False
        self._exchange = exchange

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0, which writes files and shows progress."""
        return self.rank == 0

    def where(self) -> Whereabouts:
        """Returns where this rank is. The iteration is read first: it may be behind the exchanges, never before them."""
        iteration, made = self.iteration, self._exchange.made
        return Whereabouts(iteration, made, self._exchange.tag)

    def exchange(self, tag: str, value: Any = None) -> list[Any]:
        """Returns the values of all ranks, in their order. A value must be what pickle takes, on the CPU.

        Raises:
            RankError: the ranks are at different points.
        """
        return self._exchange.values(tag, value)

    def from_main(self, tag: str, value: Any = None) -> Any:
        """Returns the value of rank 0; those of the others do not count.

        Raises:
            RankError: the ranks are at different points.
        """
        return self._exchange.from_main(tag, value)

    def sums(self, tag: str, numbers: Sequence[float]) -> list[float]:
        """Returns the sum of each number over the ranks: float64, added in the order of ranks, so the same bits on all of them.

        Raises:
            RankError: the ranks are at different points, or give different amounts of numbers.
        """
        return self._exchange.sums(tag, numbers)

    def barrier(self, tag: str) -> None:
        """Waits until all ranks are here.

        Raises:
            RankError: the ranks are at different points.
        """
        self._exchange.values(tag, None)


_inside: list[Group | None] = []  # what this process has joined and not left yet


@contextmanager
def joined(device: torch.device, *, alone: bool = False) -> Iterator[Group | None]:
    """Joins the processes that were started together, and leaves them at the end; None where this one was started alone.

    Inside another `joined` it gives what that one gave. A group that the script itself has initialised is used, and left as it is.

    Args:
        device: of this process; it decides how tensors go between processes.
        alone: give a group of one process where there is one.

    Raises:
        SettingError: the environment is incomplete or contradicts itself.
        AcceleratorError: there is no way between processes for this device, or more ranks than GPUs.
        RankError: the others do not come.
    """
    if _inside and (_inside[-1] is not None or not alone):
        yield _inside[-1]
        return
    launch = _current_launch()
    if launch is None or launch.world_size == 1:
        launch = Launch(0, 1, 0) if alone else None
    with _member(launch, device) as group:
        _inside.append(group)
        try:
            yield group
        finally:
            _inside.pop()


def _current_launch() -> Launch | None:
    found = find_launch()
    if not (dist.is_available() and dist.is_initialized()):
        return found
    local_rank = torch.cuda.current_device() if torch.cuda.is_available() else dist.get_rank()  # as the script has set it
    return Launch(dist.get_rank(), dist.get_world_size(), local_rank if found is None else found.local_rank)


@contextmanager
def _member(launch: Launch | None, device: torch.device) -> Iterator[Group | None]:
    if launch is None:
        yield None
        return
    backend = _backend_for(device, launch)
    if _kept == ["failed"]:
        _kept.clear()
        _destroy_ours()
    ours = bool(_kept) or not dist.is_initialized()
    keep_from_collecting()
    gc.collect()  # the last run may have left cycles, which hold torch's groups: their threads, and their connections
    store, second, keeps_store = _connections(launch, ours=ours)
    name = meet(store, launch.rank, launch.world_size, before=_met[-1] if _met else None)
    _met[:] = [name]
    words = PrefixStore(name, second)
    with Lookout(words, launch.rank, launch.world_size, keeps_store=keeps_store) as lookout:
        if not dist.is_initialized():
            dist.init_process_group(backend, store=PrefixStore(name, store), rank=launch.rank, world_size=launch.world_size)
        stayed, _kept[:] = bool(_kept), ["failed"] if ours else []
        own = dist.new_group(backend="gloo", timeout=_ANY_TIME)
        group = Group(launch, Exchange(own, lookout.look), Blame(words, launch.rank, launch.world_size))
        lookout.where = group.where
        yield group
        group.barrier("the end")
    dist.destroy_process_group(own)
    if ours:
        _kept[:] = ["stays"] if stayed or group.stays else []
        if not _kept:
            dist.destroy_process_group()
        elif not stayed:
            atexit.register(_end_group)


def _tell_end(rank: int) -> None:
    if _met:
        with suppress(RuntimeError):  # the store has ended first
            tell_end(PrefixStore("framework", _of_launch[1]), rank, _met[-1])


def _end_group() -> None:
    if _kept == ["stays"]:
        _destroy_ours()


def _destroy_ours() -> None:
    if dist.is_initialized():  # the script may have done it
        dist.destroy_process_group()


_kept: list[str] = []  # why torch's group is still there though the run is over: "stays", or "failed": alone it cannot be ended
_met: list[str] = []  # the name of the last time
_of_launch: list[Store] = []  # kept for all that is joined: rank 0 may have to open the port, and connecting takes time


def _connections(launch: Launch, *, ours: bool) -> tuple[Store, Store, bool]:
    """Returns the store that all ranks can reach, twice, and whether it may end with the process of rank 0.

    One that waits for a key is locked meanwhile; the second is for what never waits.
    """
    if not ours:
        world = dist.group.WORLD
        assert world is not None
        store = world.get_group_store()
        return PrefixStore("framework", store), PrefixStore("framework", store.clone()), True  # type: ignore[attr-defined]
    if launch.world_size == 1:
        alone = HashStore()
        return alone, alone, False
    keeps_store = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    if not _of_launch:
        store, _, _ = next(rendezvous("env://"))
        _of_launch[:] = store, store.clone()
        if not keeps_store:
            atexit.register(_tell_end, launch.rank)
    store, second = (PrefixStore("framework", each) for each in _of_launch)
    return store, second, keeps_store


def _backend_for(device: torch.device, launch: Launch) -> str:
    if device.type not in _BACKENDS:
        raise AcceleratorError(
            f"Several processes cannot work together on {device.type!r}: torch.distributed has no way between them. On cpu, cuda "
            'and xla they can: fit(accelerator="cpu"), or start the script as one process.'
        )
    if device.type == "cuda":
        if launch.local_rank >= (count := torch.cuda.device_count()):
            raise AcceleratorError(
                f"The process with LOCAL_RANK={launch.local_rank} has no GPU: this machine has {count}. Start at most {count} "
                f"processes here: torchrun --nproc-per-node {count}."
            )
        torch.cuda.set_device(launch.local_rank)
    elif device.type == "xla":
        import_module("torch_xla.distributed.xla_backend")  # registers it
    return _BACKENDS[device.type]
