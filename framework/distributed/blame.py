"""Which rank of a run that hangs is to blame: the one that waits for no other."""

from __future__ import annotations

import json
import threading
from time import monotonic, sleep

from torch.distributed import Store  # type: ignore[attr-defined]  # public, though not in its list

from framework.distributed.failure import EXIT_HUNG, Failure
from framework.distributed.whereabouts import wait_for_others

_OTHERS_S = 5.0  # between the ends of patience of the ranks: each counts from its own last step


class Blame:
    """Decides, when the patience with a run is at its end on all ranks, which of them gives the full report.

    To be made in the thread that trains, and called in the one that watches it. Called with the place where this rank is, it
    returns the one line for a rank that only waits for others, or None where this rank is to tell all: it waits for nobody, or is
    the first of those that all wait for each other.

    Args:
        store: for the words of this run, over a connection that nothing else waits on.
        rank, world_size: of this process.
    """

    def __init__(self, store: Store, rank: int, world_size: int) -> None:
        self._store = store
        self._rank, self._size = rank, world_size
        self._watched = threading.get_ident()

    def __call__(self, place: str) -> str | None:
        waits = wait_for_others(self._watched)
        self._store.set(f"hangs/{self._rank}", json.dumps(waits))
        self._store.compare_set("failed", "", Failure(self._rank, f"hangs: {place}", EXIT_HUNG).text())
        if waits is None:
            return None
        told = self._await_others()
        busy = [rank for rank, where in told.items() if where is None]
        if not busy and self._rank == min(told):
            return None
        return f"Rank {self._rank} waits for others in {waits}: {place}"

    def _await_others(self) -> dict[int, str | None]:
        """Returns where each rank waits, None for one that does not: of those that say so in time, at best until one does not."""
        deadline = monotonic() + _OTHERS_S
        told: dict[int, str | None] = {}
        while True:
            for rank in (rank for rank in range(self._size) if rank not in told and self._store.check([f"hangs/{rank}"])):
                told[rank] = json.loads(self._store.get(f"hangs/{rank}"))
            if len(told) == self._size or None in told.values() or monotonic() >= deadline:
                return told
            sleep(0.05)
