"""Where a run is, so that it can go on exactly there."""

from __future__ import annotations

from collections.abc import Iterator
from time import perf_counter
from typing import Any, NamedTuple


class Restart(NamedTuple):
    """What had been asked for when the progress of a run was written down, for the process that takes it up."""

    terminate: bool | str
    terminate_epoch: bool | str
    reason: str | None


class Position:
    """Where a run is, so that an interrupted one goes on exactly there.

    Attributes:
        after: the event after which the run was interrupted, None while it runs.
        repeat_event: the handlers of that event, ITERATION_COMPLETED, have to run again.
        restart: set where the run goes on in another process.
        data: what `run` was given; a handler may have put something else into `state.dataloader` since.
        feed: the iterator over the batches, None until the next one is needed.
        epoch_start: the iteration count at which this epoch's count is zero.
        refilled: the feed was renewed and has given nothing since.
        used_up: the data can give nothing more.
    """

    __slots__ = (
        *("after", "data", "epoch_began", "epoch_start", "feed", "paused", "refilled", "repeat_event", "restart", "run_began"),
        "used_up",
    )

    def __init__(self, data: Any) -> None:
        self.data = data
        self.after: str | None = None
        self.feed: Iterator[Any] | None = None
        self.epoch_start = 0
        self.refilled = False
        self.used_up = False
        self.repeat_event = False
        self.restart: Restart | None = None
        self.run_began = self.epoch_began = self.paused = perf_counter()

    def pause(self, after: str | None) -> None:
        """Notes the event after which the run stops for now; None for its beginning."""
        self.after, self.paused = after, perf_counter()

    def resume(self) -> None:
        """Takes the time of the pause out of the durations."""
        away = perf_counter() - self.paused
        self.run_began += away
        self.epoch_began += away
