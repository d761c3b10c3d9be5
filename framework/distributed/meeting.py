"""How processes that start or join together find each other in a store that may hold what others have left there."""

from __future__ import annotations

from datetime import timedelta
from time import monotonic, sleep
from uuid import uuid4

from torch.distributed import Store  # type: ignore[attr-defined]  # public, though not in its list

from framework.errors import RankError

_LOOK_S = 0.01
_ADVICE = "fit, evaluate and predict work together: call them on all ranks, the same number of times, not under `if rank() == 0`."


def meet(store: Store, rank: int, world_size: int, within: timedelta = timedelta(minutes=30), before: str | None = None) -> str:
    """Waits until all ranks are here; returns a name that is the same on all of them and was never used before.

    torchrun keeps its store when it starts the processes again, in other numbers perhaps, so no count can be that name. Each rank
    leaves a fresh word and waits for its answer; rank 0 answers whatever word it finds, until each rank has said that it got one.

    Args:
        store: which all of them use.
        rank, world_size: of this process.
        within: how long to wait for the others.
        before: the name of the last time that these processes met; None for the first time.

    Raises:
        RankError: some have not come, or rank 0 has not, or they have ended since the last time.
    """
    deadline = monotonic() + within.total_seconds()
    if rank == 0:
        return _gather(store, world_size, deadline, within, before)
    word = uuid4().hex
    store.set(f"word/{rank}", word)
    while not store.check([f"answer/{word}"]):
        _refuse_ended(store, before, [0])
        _wait(deadline, within, [0])
    name = store.get(f"answer/{word}").decode()
    store.set(f"here/{name}/{rank}", "1")
    return name


def tell_end(store: Store, rank: int, name: str) -> None:
    """Tells that this process is about to end: it will meet nobody any more. `name` is that of the last time that it did."""
    store.set(f"ended/{name}/{rank}", "1")


def _gather(store: Store, world_size: int, deadline: float, within: timedelta, before: str | None) -> str:
    name = uuid4().hex
    answered: set[str] = set()
    missing = [*range(1, world_size)]
    while missing:
        for rank in missing:
            if store.check([f"word/{rank}"]) and (word := store.get(f"word/{rank}").decode()) not in answered:
                store.set(f"answer/{word}", name)
                answered.add(word)
        missing = [rank for rank in missing if not store.check([f"here/{name}/{rank}"])]
        if missing:
            _refuse_ended(store, before, missing)
            _wait(deadline, within, missing)
    return name


def _wait(deadline: float, within: timedelta, missing: list[int]) -> None:
    """Sleeps a moment: a wait inside the store could not be interrupted."""
    if monotonic() >= deadline:
        raise RankError(f"After {within} {_have(missing)} not come. {_ADVICE}")
    sleep(_LOOK_S)


def _refuse_ended(store: Store, before: str | None, missing: list[int]) -> None:
    if ended := [rank for rank in missing if before is not None and store.check([f"ended/{before}/{rank}"])]:
        raise RankError(f"This rank waits for others, and {_have(ended)} ended. {_ADVICE}")


def _have(ranks: list[int]) -> str:
    return f"rank {ranks[0]} has" if len(ranks) == 1 else f"ranks {', '.join(map(str, ranks))} have"
