"""Passes over a list, a tuple or another sequence of batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from weakref import proxy

from framework.data.base import Ordered, Pass
from framework.data.dealt import Dealing, dealt, from_step
from framework.data.shares import Shares


class InSequence(Ordered):
    """A sequence of batches, in its own order; skipping goes by index. The position counts batches as samples.

    Args:
        data: batches.
        seed: that of the run.
        shares: which batches are this process's, of those of several; None for one process.
    """

    def __init__(self, data: Sequence[Any], seed: int, shares: Shares | None = None) -> None:
        super().__init__(seed)
        self._data = data
        self._shares = shares

    def __len__(self) -> int:
        return len(self._data) if self._shares is None else -(-len(self._data) // self._shares.world_size)

    def _open(self, number: int, saved: Mapping[str, Any] | None, previous: Pass | None) -> Pass:
        done, shares = 0 if saved is None else saved["samples"], self._shares
        batches = map(self._data.__getitem__, range(done, len(self._data)))
        if shares is None:
            opened = Pass(number, done, self._count)
            opened.fetch = batches.__next__
        else:
            opened = Pass(number, -(-done // shares.world_size), self._count)
            dealing = Dealing(dealt(from_step(batches, done, shares), shares, shares.count))
            opened.fetch = dealing.handing_out(iter(dealing).__next__, proxy(self))
        return opened

    def _start(self, number: int) -> dict[str, Any]:
        return {"epoch": number, "samples": 0, "seed": self.seed, "length": len(self._data)}

    def _inside(self, opened: Pass) -> dict[str, Any]:
        done = opened.completed()
        if self._shares is not None:
            done = min(done * self._shares.world_size, len(self._data))
        return {**self._start(opened.number), "samples": done}
