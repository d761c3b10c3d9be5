"""Passes over iterables that can only be read from their start."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from framework.data.base import BatchCount, Ordered, Pass
from framework.data.collate_errors import NamedCollate
from framework.data.loader_copy import LoaderPasses, changed, is_plain, traits_of
from framework.errors import ResumeError
from framework.seeding import random_state, set_random_state


class ReadForward(Ordered):
    """Any other iterable, left to its own order: to go on inside a pass, the batches before are read again and dropped.

    What it draws comes from the global random streams, as it always does; their states at the start of a pass are part of the
    position, and that of the loader's own generator.

    Args:
        data: batches.
        seed: that of the run.
    """

    def __init__(self, data: Any, seed: int) -> None:
        super().__init__(seed)
        self._data = data
        self._passes = None
        if is_plain(data):  # a copy, which has workers of its own
            self._passes = LoaderPasses(changed(data, collate_fn=NamedCollate(data.collate_fn, data.dataset)))
        self.reads_ahead_safely = not hasattr(data, "__next__")  # an iterator has no start to go back to

    def __len__(self) -> int:
        return len(self._data)

    def close(self) -> None:
        if getattr(self, "_passes", None) is not None:
            self._passes.close()  # type: ignore[union-attr]

    def traits(self) -> dict[str, Any]:
        return traits_of(self._data) if is_plain(self._data) else {}

    def workers(self) -> list[Any]:
        return [] if self._passes is None else self._passes.workers()

    def _open(self, number: int, saved: Mapping[str, Any] | None, previous: Pass | None) -> Pass:
        reuse = previous is not None and not previous.broken
        if saved is None or saved["random"] is None:
            if saved is not None:
                self._set_generator(saved)
            start = {**self._start(number), "random": random_state()}
            batches = self._iterate(reuse)
        else:
            start = dict(saved)
            batches = self._read_again(saved, reuse)
        opened = _ForwardPass(number, start["batches"], self._count, start)
        opened.fetch = batches.__next__
        return opened

    def _start(self, number: int) -> dict[str, Any]:
        generator = self._generator()
        return {"epoch": number, "batches": 0, "random": None, "generator": None if generator is None else generator.get_state()}

    def _inside(self, opened: Pass) -> dict[str, Any]:
        assert isinstance(opened, _ForwardPass)
        return {**opened.start, "batches": opened.completed()}

    def _iterate(self, reuse: bool) -> Iterator[Any]:
        return iter(self._data) if self._passes is None else self._passes.open(reuse)

    def _read_again(self, saved: Mapping[str, Any], reuse: bool) -> Iterator[Any]:
        count, name = saved["batches"], type(self._data).__name__
        if count > 0:
            warnings.warn(
                f"{count} batches are read and dropped to go on inside pass {saved['epoch']}: this {name} can only be read from "
                "its start. A DataLoader over a dataset with __getitem__ and __len__, or data with state_dict and load_state_dict, "
                "goes on at once.",
                UserWarning,
                stacklevel=4,
            )
        now = random_state()
        set_random_state(saved["random"])
        self._set_generator(saved)
        try:
            batches = self._iterate(reuse)
            for done in range(count):
                try:
                    next(batches)
                except StopIteration:
                    raise ResumeError(
                        f"The position was saved after {count} batches of the pass, and this {name} ends after {done}. Give the "
                        "data of the interrupted run, or start a new run."
                    ) from None
                if self.on_dropped is not None:
                    self.on_dropped()
        finally:
            set_random_state(now)
        return batches

    def _generator(self) -> torch.Generator | None:
        generator = getattr(self._data, "generator", None)
        return generator if isinstance(generator, torch.Generator) else None

    def _set_generator(self, saved: Mapping[str, Any]) -> None:
        generator = self._generator()
        if generator is not None and saved["generator"] is not None:
            generator.set_state(saved["generator"].cpu())


class _ForwardPass(Pass):
    """A pass with the position at which it was opened."""

    def __init__(self, number: int, skipped: int, count: BatchCount, start: dict[str, Any]) -> None:
        super().__init__(number, skipped, count)
        self.start = start
