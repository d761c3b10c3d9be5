"""Passes over a list, a tuple or another sequence of batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from framework.data.base import Ordered, Pass


class InSequence(Ordered):
    """A sequence of batches, in its own order; skipping goes by index. The position counts batches as samples.

    Args:
        data: batches.
        seed: that of the run.
    """

    def __init__(self, data: Sequence[Any], seed: int) -> None:
        super().__init__(seed)
        self._data = data

    def __len__(self) -> int:
        return len(self._data)

    def _open(self, number: int, saved: Mapping[str, Any] | None, previous: Pass | None) -> Pass:
        opened = Pass(number, 0 if saved is None else saved["samples"], self._count)
        opened.fetch = map(self._data.__getitem__, range(opened.skipped, len(self._data))).__next__
        return opened

    def _start(self, number: int) -> dict[str, Any]:
        return {"epoch": number, "samples": 0, "seed": self.seed, "length": len(self._data)}

    def _inside(self, opened: Pass) -> dict[str, Any]:
        return {**self._start(opened.number), "samples": opened.completed()}
