"""A machine or a network that is gone says nothing: each rank beats, and the one before it listens."""

from __future__ import annotations

from time import monotonic

from torch.distributed import Store  # type: ignore[attr-defined]  # public, though not in its list

SILENT_S = 300.0
"""How long a rank may be silent, in seconds: one that runs C code which does not let other threads run is silent too."""
_BEAT_S = 2.0


class Heartbeat:
    """Counts in a store that this rank is there, and looks whether the next one still counts. To be called again and again.

    Args:
        store: over a connection that nothing else waits on.
        rank, world_size: of this process.

    Attributes:
        silent_s: how long the next rank may be silent.

    Example:
        >>> from torch.distributed import HashStore
        >>> from framework.distributed.heartbeat import Heartbeat
        >>> Heartbeat(HashStore(), rank=0, world_size=2).beat()
        False
    """

    def __init__(self, store: Store, rank: int, world_size: int) -> None:
        self.silent_s = SILENT_S
        self._store = store
        self._own, self._next = f"beat/{rank}", f"beat/{(rank + 1) % world_size}"
        self._interval_s = min(_BEAT_S, self.silent_s / 4)
        self._heard, self._silence_s = 0, 0.0
        self._last_s = monotonic()

    def beat(self) -> bool:
        """Counts where that is due; returns whether the next rank has been silent for too long while this one was not."""
        passed_s = monotonic() - self._last_s
        if passed_s < self._interval_s:
            return False
        self._last_s += passed_s
        self._store.add(self._own, 1)
        heard = self._store.add(self._next, 0)
        # this process may have been suspended, and the other with it
        self._silence_s = 0.0 if heard != self._heard else self._silence_s + min(passed_s, 2 * self._interval_s)
        self._heard = heard
        return self._silence_s >= self.silent_s
