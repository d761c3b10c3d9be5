"""Passes over iterables that can only be read from their start."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import Any
from weakref import proxy

import torch

from framework.data.base import BatchCount, Ordered, Pass
from framework.data.collate_errors import NamedCollate
from framework.data.dealt import Dealing, dealt, from_step
from framework.data.loader_copy import LoaderPasses, changed, is_plain, traits_of
from framework.data.shares import Shares
from framework.data.streams import apart, seed_streams
from framework.errors import ResumeError
from framework.seeding import derive_seed, random_state, set_random_state


class ReadForward(Ordered):
    """Any other iterable, left to its own order: to go on inside a pass, the batches before are read again and dropped.

    What it draws comes from the global random streams, as it always does; their states at the start of a pass are part of the
    position, and that of the loader's own generator.

    Several processes each read all batches, of which each keeps some. To read the same although their global streams differ, they
    seed what is drawn for a batch from the seed of the run, the pass and the position of the batch.

    Args:
        data: batches.
        seed: that of the run.
        shares: which batches are this process's, of those of several; None for one process.
    """

    def __init__(self, data: Any, seed: int, shares: Shares | None = None) -> None:
        super().__init__(seed)
        self._data = data
        self._shares = shares
        self._passes = None
        if is_plain(data):  # a copy, which has workers of its own
            self._passes = LoaderPasses(changed(data, collate_fn=NamedCollate(data.collate_fn, data.dataset)))
        self.reads_ahead_safely = not hasattr(data, "__next__")  # an iterator has no start to go back to

    def __len__(self) -> int:
        return len(self._data) if self._shares is None else -(-len(self._data) // self._shares.world_size)

    def close(self) -> None:
        if getattr(self, "_passes", None) is not None:
            self._passes.close()  # type: ignore[union-attr]

    def traits(self) -> dict[str, Any]:
        return traits_of(self._data, self._shares) if is_plain(self._data) else {}

    def describe(self) -> str | None:
        if self._shares is None:
            return None
        return f"{self._shares.world_size} processes each read all batches, and keep one in {self._shares.world_size}"

    def workers(self) -> list[Any]:
        return [] if self._passes is None else self._passes.workers()

    def _open(self, number: int, saved: Mapping[str, Any] | None, previous: Pass | None) -> Pass:
        reuse = previous is not None and not previous.broken
        shares = self._shares
        if shares is None and saved is not None and saved["random"] is None and saved["batches"]:
            shares = Shares(0, 1)  # several processes began this pass
        if shares is not None:
            return self._open_dealt(number, saved, reuse, shares)
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

    def _open_dealt(self, number: int, saved: Mapping[str, Any] | None, reuse: bool, shares: Shares) -> Pass:
        start, seed = self._start(number) if saved is None else dict(saved), derive_seed(self.seed, number)
        done = start["batches"]
        if saved is not None:
            self._set_generator(saved)
        if start["random"] is not None:  # one process began this pass
            reading = _Seeded(self._read_again(start, reuse), seed, done)
        else:
            reading = _Seeded(apart(lambda: self._begin(seed, reuse)), seed, 0)
            if done:
                self._drop(reading, start)
        opened = _ForwardPass(number, -(-done // shares.world_size), self._count, start)
        opened.dealt = reading, shares.world_size
        dealing = Dealing(dealt(from_step(reading, done, shares), shares, shares.count))
        opened.fetch = dealing.handing_out(iter(dealing).__next__, proxy(self))
        return opened

    def _begin(self, seed: int, reuse: bool) -> Iterator[Any]:
        seed_streams(seed)
        return self._iterate(reuse)

    def _start(self, number: int) -> dict[str, Any]:
        generator = self._generator()
        return {"epoch": number, "batches": 0, "random": None, "generator": None if generator is None else generator.get_state()}

    def _inside(self, opened: Pass) -> dict[str, Any]:
        assert isinstance(opened, _ForwardPass)
        return {**opened.start, "batches": opened.batches()}

    def _iterate(self, reuse: bool) -> Iterator[Any]:
        return iter(self._data) if self._passes is None else self._passes.open(reuse)

    def _read_again(self, saved: Mapping[str, Any], reuse: bool) -> Iterator[Any]:
        now = random_state()
        set_random_state(saved["random"])
        self._set_generator(saved)
        try:
            batches = self._iterate(reuse)
            self._drop(batches, saved)
        finally:
            set_random_state(now)
        return batches

    def _drop(self, batches: Iterator[Any], saved: Mapping[str, Any]) -> None:
        count, name = saved["batches"], type(self._data).__name__
        if count > 0:
            warnings.warn(
                f"{count} batches are read and dropped to go on inside pass {saved['epoch']}: this {name} can only be read from "
                "its start. A DataLoader over a dataset with __getitem__ and __len__, or data with state_dict and load_state_dict, "
                "goes on at once.",
                UserWarning,
                stacklevel=5,
            )
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

    def _generator(self) -> torch.Generator | None:
        generator = getattr(self._data, "generator", None)
        return generator if isinstance(generator, torch.Generator) else None

    def _set_generator(self, saved: Mapping[str, Any]) -> None:
        generator = self._generator()
        if generator is not None and saved["generator"] is not None:
            generator.set_state(saved["generator"].cpu())


class _Seeded(Iterator[Any]):
    """Batches, each made apart from the process's random streams, with a seed of its position.

    Args:
        batches: those that are left of a pass.
        seed: of the pass.
        read: how many were read before.

    Attributes:
        read: how many have been read by now.
    """

    def __init__(self, batches: Iterator[Any], seed: int, read: int) -> None:
        self._batches = batches
        self._seed = seed
        self.read = read

    def __next__(self) -> Any:
        batch = apart(self._next)
        self.read += 1
        return batch

    def _next(self) -> Any:
        seed_streams(derive_seed(self._seed, self.read))
        return next(self._batches)


class _ForwardPass(Pass):
    """A pass with the position at which it was opened.

    Attributes:
        dealt: what reads the batches of all processes, and how many a step takes; None where each step takes one.
    """

    dealt: tuple[_Seeded, int] | None = None

    def __init__(self, number: int, skipped: int, count: BatchCount, start: dict[str, Any]) -> None:
        super().__init__(number, skipped, count)
        self.start = start

    def batches(self) -> int:
        """Returns how many batches of all processes are complete."""
        if self.dealt is None:
            return self.completed()
        reading, world_size = self.dealt
        return min(self.completed() * world_size, reading.read)  # the last step may take less
