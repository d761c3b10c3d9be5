"""Passes over a map-style DataLoader."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import repeat
from typing import Any
from weakref import proxy

import torch
from torch.utils.data import DataLoader

from framework.data.base import BatchCount, Ordered, Pass
from framework.data.dealt import Dealing
from framework.data.loader_copy import LoaderPasses, traits_of, with_items
from framework.data.samplers import Indices, sampler_of
from framework.data.seeded import SeededDataset, SeededItems, seeded
from framework.data.shared_indices import SharedIndices
from framework.data.shares import Shares
from framework.data.streams import Apart
from framework.seeding import derive_seed

_REMEMBERED = 100


class MapStyle(Ordered):
    """A map-style `DataLoader`: its order and what is drawn in its batches follow from (seed, pass), and skipping reads no data.

    The position is four integers, and the state of the user's sampler where that has one.

    Args:
        loader: the user's, of which a copy is used.
        seed: that of the run.
        seeding: "batch" or "sample".
        shares: which samples are this process's, of those of several; None for one process. Positions count those of all.
    """

    def __init__(self, loader: DataLoader[Any], seed: int, seeding: str, shares: Shares | None = None) -> None:
        self._generator = torch.Generator()
        self._items = SeededItems(sampler_of(loader))
        self._each_sample = seeding == "sample"
        dataset = SeededDataset(loader.dataset, self._each_sample)
        self._passes = LoaderPasses(with_items(loader, self._items, dataset, generator=self._generator, in_order=True))
        self._loader = loader
        self._shares = shares
        self._shared = None if shares is None else SharedIndices(loader, shares)
        self._indices = Indices(loader) if self._shared is None else self._shared.steps
        super().__init__(seed)

    def __len__(self) -> int:
        return len(self._loader if self._shared is None else self._shared)

    def close(self) -> None:
        if hasattr(self, "_passes"):
            self._passes.close()

    def workers(self) -> list[Any]:
        return self._passes.workers()

    def indices_at(self, batch: int) -> list[Any] | None:
        opened = self._state[0]
        return opened.indices_at(batch) if isinstance(opened, _MapPass) else None

    def traits(self) -> dict[str, Any]:
        return traits_of(self._loader, self._shares)

    def describe(self) -> str | None:
        changes = []
        if self._shared is not None and self._shared.replaced is not None:
            changes.append(self._shared.replaced)
        elif self._indices.replaced is not None:
            changes.append(f"{self._indices.replaced} -> order by seed and pass")
        if self._loader.num_workers > 0 and not self._loader.in_order:
            changes.append("in_order=False -> True")
        return "; ".join(changes) or None

    def _open(self, number: int, saved: Mapping[str, Any] | None, previous: Pass | None) -> Pass:
        indices, seed = self._indices, derive_seed(self.seed, number)
        samples = 0 if saved is None else saved["samples"]
        if saved is not None and "sampler" in saved:
            indices.load_state(saved["sampler"])
        start = {**self._start(number), "samples": samples}
        drawn, skipped = (indices if self._shared is None else self._shared).draw(number, seed, samples)
        dealing = drawn if isinstance(drawn, Dealing) else None
        own_seed = seed if self._shared is None else self._shared.own_seed(self.seed, number)
        opened = _MapPass(number, skipped, self._count, start, indices)
        items = opened.noted(drawn, indices.size if dealing is None else dealing.size)
        self._items.begin(zip(repeat(seed), items) if self._each_sample else seeded(items, own_seed, skipped))
        self._generator.manual_seed(own_seed)  # of the workers' first seeds
        batches = self._passes.open(reuse=previous is not None and not previous.broken)
        opened.fetch = (batches if self._loader.num_workers > 0 else Apart(batches)).__next__
        if dealing is not None:
            opened.fetch = dealing.handing_out(opened.fetch, proxy(self))
        return opened

    def _start(self, number: int) -> dict[str, Any]:
        return {"epoch": number, "samples": 0, "seed": self.seed, "length": self._indices.length, **self._indices.state()}

    def _inside(self, opened: Pass) -> dict[str, Any]:
        assert isinstance(opened, _MapPass)
        return opened.position()


class _MapPass(Pass):
    """A pass that knows the samples of its latest batches.

    Args:
        start: the position at which it was opened.
        indices: where its items come from.
    """

    def __init__(self, number: int, skipped: int, count: BatchCount, start: dict[str, Any], indices: Indices) -> None:
        super().__init__(number, skipped, count)
        self._start = start
        self._indices = indices
        self._drawn: dict[int, tuple[int, Any]] = {}  # by position: the samples of the pass up to its end, and the batch's indices

    def noted(self, items: Iterable[Any], size: Callable[[Any], int]) -> Iterator[Any]:
        """Yields the items, and remembers those that are not complete and a few before.

        Args:
            items: of this process.
            size: returns how many samples the step of the latest item has.
        """
        samples = self._start["samples"]
        for position, item in enumerate(items, self.skipped):
            samples += size(item)
            self._drawn[position] = samples, item
            if len(self._drawn) > 2 * _REMEMBERED:
                self._forget()
            yield item

    def _forget(self) -> None:
        oldest = self.completed() - _REMEMBERED
        self._drawn = {position: batch for position, batch in self._drawn.items() if position >= oldest}

    def position(self) -> dict[str, Any]:
        """Returns the position after the batches that are complete."""
        completed = self.completed()
        if completed == self.skipped:
            return dict(self._start)
        assert completed - 1 in self._drawn, f"the clock counts {completed} batches of a pass that has not come so far"
        return {**self._start, "samples": self._drawn[completed - 1][0]}

    def indices_at(self, batch: int) -> list[Any] | None:
        """Returns the indices of a batch, None where they are forgotten."""
        if batch not in self._drawn:
            return None
        item = self._drawn[batch][1]
        return list(item) if self._indices.in_batches else [item]
