"""A changed copy of a user's DataLoader, with worker processes of its own; the user's stays as it is."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from typing import Any

from torch.utils.data import BatchSampler, DataLoader, IterableDataset

from framework.data.collate_errors import NamedCollate
from framework.data.seeded import SeededDataset, SeededItems
from framework.data.shares import Shares
from framework.data.worker_death import FromWorkers
from framework.data.workers import WorkerStart, end_workers, signals_held, started


def is_plain(data: Any) -> bool:
    """Tells whether this is a DataLoader that iterates as torch's does; what another does is its own business."""
    return isinstance(data, DataLoader) and type(data).__iter__ is DataLoader.__iter__


def is_map_style(data: Any) -> bool:
    """Tells whether this is a DataLoader that asks its dataset for samples by index."""
    return is_plain(data) and not isinstance(data.dataset, IterableDataset)


def traits_of(loader: DataLoader[Any], shares: Shares | None = None) -> dict[str, Any]:
    """Returns the size of its batches, those of all processes together, and the name of its sampler."""
    batching: Any = loader.batch_sampler
    sampler = loader.sampler if batching is None else batching.sampler if type(batching) is BatchSampler else batching
    size = getattr(batching, "batch_size", None)
    if shares is not None and isinstance(size, int):
        size = shares.step_size(size)
    return {"batch size": size, "sampler": type(sampler).__name__}


def changed(loader: DataLoader[Any], **changes: Any) -> DataLoader[Any]:
    """Returns a shallow copy; a loader refuses changes of its sampler by assignment, and must not share live workers."""
    other = copy(loader)
    other.__dict__.update(changes, _iterator=None)
    return other


def with_items(loader: DataLoader[Any], items: SeededItems, dataset: SeededDataset, **changes: Any) -> DataLoader[Any]:
    """Returns a copy that makes its batches of these items, of which each has its seed."""
    sampler = "sampler" if loader.batch_sampler is None else "batch_sampler"
    collate = NamedCollate(loader.collate_fn, dataset)
    return changed(loader, dataset=dataset, collate_fn=collate, **{sampler: items}, **changes)


class LoaderPasses:
    """The passes over a copy of a loader, and the worker processes that make them.

    Args:
        loader: a copy that nobody else uses.
    """

    def __init__(self, loader: DataLoader[Any]) -> None:
        self._loader = loader
        self._worker_init_fn = loader.worker_init_fn
        self._batches: Any = None  # torch's iterator with workers, None where there is none

    def open(self, reuse: bool) -> Iterator[Any]:
        """Starts a pass.

        Args:
            reuse: workers that persist may be used again; not where a fetch was broken off, which may have left half a message.
        """
        loader = self._loader
        if loader.num_workers == 0:
            return iter(loader)
        if self._batches is not None and reuse and loader.persistent_workers:
            try:
                return FromWorkers(iter(loader))
            except BaseException:
                self.close()
                raise
        self.close()
        loader.worker_init_fn = WorkerStart(self._worker_init_fn, loader.multiprocessing_context)
        with signals_held(loader.multiprocessing_context):
            self._batches = iter(loader)
            started(self._batches)
        return FromWorkers(self._batches)

    def workers(self) -> list[Any]:
        """Returns the worker processes that are alive."""
        return [] if self._batches is None else [worker for worker in self._batches._workers if worker.is_alive()]

    def close(self) -> None:
        """Ends the workers; the next pass starts others."""
        batches, self._batches, self._loader._iterator = self._batches, None, None
        if batches is not None:
            end_workers(batches)
