"""Passes over data that saves its own state."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from framework.data.base import Ordered, Pass


class Stateful(Ordered):
    """Anything with `state_dict` and `load_state_dict`: it keeps its own order, and the position is its state.

    That state counts the batches that were handed out, so none may be fetched ahead of the position.

    Args:
        data: batches.
        seed: that of the run.
    """

    reads_ahead_safely = False

    def __init__(self, data: Any, seed: int) -> None:
        super().__init__(seed)
        self._data = data
        self._warned = False

    def __len__(self) -> int:
        return len(self._data)

    def _open(self, number: int, saved: Mapping[str, Any] | None, previous: Pass | None) -> Pass:
        if saved is not None:
            self._data.load_state_dict(deepcopy(saved["state"]))
        elif previous is not None and not previous.broken:
            self._finish(previous)  # else its next pass would depend on whether a position was asked for in between
        opened = Pass(number, 0, self._count)
        opened.fetch = iter(self._data).__next__
        return opened

    def _start(self, number: int) -> dict[str, Any]:
        return {"epoch": number, "state": deepcopy(self._data.state_dict())}

    def _inside(self, opened: Pass) -> dict[str, Any]:
        return self._start(opened.number)

    def _finish(self, opened: Pass) -> None:
        """Runs the iterator to its StopIteration: the state before it, after the last batch, would give an empty pass."""
        while not opened.over:
            try:
                opened.fetch()
            except StopIteration:
                opened.over = True
            else:
                self._warn_of_reading()

    def _warn_of_reading(self) -> None:
        if not self._warned:
            self._warned = True
            warnings.warn(
                f"A pass over this {type(self._data).__name__} was cut short. To save the state with which its next pass starts, "
                "what is left of this one is read and dropped. An epoch_length, in place of a limit of batches, carries the pass "
                "on instead.",
                UserWarning,
                stacklevel=2,
            )
