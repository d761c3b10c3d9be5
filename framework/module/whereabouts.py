"""Where a run is, told on an error and by a watchdog, and which processes belong to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from framework.backends.base import Backend
from framework.distributed.group import Group
from framework.engine.engine import Engine
from framework.engine.events import Events
from framework.module.assembly import Assembled
from framework.module.place import batch_of, surroundings
from framework.module.resuming.run_folder import RunFolder
from framework.module.resuming.saver import Saver
from framework.module.stopping.boundary import Boundary
from framework.module.stopping.watchdog import Watchdog


@contextmanager
def watched(timeout_s: float, assembled: Assembled, boundary: Boundary, saver: Saver | None, group: Group | None) -> Iterator[None]:
    """Lets a watchdog look after the run while the block runs."""
    of_rank, blame = ("", None) if group is None else (f", on rank {group.rank} of {group.world_size}", group.blame)
    watchdog = Watchdog(timeout_s, lambda: f"{_place(assembled, boundary)}{of_rank}", lambda: _workers(assembled), blame)
    with watchdog:
        boundary.watchdog = watchdog
        if saver is not None:
            saver.around = watchdog.paused
        if assembled.source is not None:
            assembled.source.on_dropped = watchdog.beat
        try:
            yield
        finally:  # they hold each other
            boundary.watchdog = None
            if saver is not None:
                saver.around = nullcontext
            if assembled.source is not None:
                assembled.source.on_dropped = None


def describe_place(engine: Engine, boundary: Boundary, backend: Backend, folder: RunFolder | None) -> str:
    """Says where a run is, for an error; what an evaluation does it says itself."""
    epoch, iteration = engine.state.epoch, engine.state.iteration
    where = f"epoch {epoch}, after iteration {iteration}" if boundary.evaluates else f"{boundary.place(engine)}{batch_of(engine)}"
    return f"While training: {where}; {surroundings(backend, folder)}."


def _place(assembled: Assembled, boundary: Boundary) -> str:
    """Says where a run is, for the watchdog, and which samples it waits for where that is known."""
    engine, run, source = assembled.engine, assembled.run, assembled.source
    place = boundary.place(engine)
    if source is None or not run.one_pass or engine.last_event_name != Events.GET_BATCH_STARTED:
        return place
    samples = source.indices_at(engine.state.iteration - run.epoch_start)
    return place if samples is None else f"{place} (samples {', '.join(map(str, samples))})"


def _workers(assembled: Assembled) -> list[Any]:
    return [worker for source in assembled.sources for worker in source.workers()]
