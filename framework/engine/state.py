"""The state of a run: how far it is, and the batch and output at hand."""

from __future__ import annotations

from numbers import Number
from typing import TYPE_CHECKING, Any

from framework.engine.events import EventLike, Events

COUNTERS: dict[str, str] = {
    Events.STARTED: "epoch",
    Events.EPOCH_STARTED: "epoch",
    Events.EPOCH_COMPLETED: "epoch",
    Events.COMPLETED: "epoch",
    Events.GET_BATCH_STARTED: "iteration",
    Events.GET_BATCH_COMPLETED: "iteration",
    Events.ITERATION_STARTED: "iteration",
    Events.ITERATION_COMPLETED: "iteration",
}
"""The state attribute that counts an event, for the events that have one."""


class State:
    """What an engine's run knows. The loop writes it; handlers read it and may put attributes of their own on it.

    Attributes:
        iteration: steps taken, over all epochs. 1 in the first ITERATION_STARTED.
        epoch: epochs begun. 1 in the first EPOCH_STARTED.
        epoch_length: iterations an epoch, None while unknown.
        max_epochs, max_iters: where the run ends; the one not in use is None.
        batch, output: the batch at hand and what the last step returned.
        metrics: results by name.
        dataloader: the data given to `run`.
        seed: the seed given to `run`.
        times: seconds, by event name: of the last epoch ("EPOCH_COMPLETED") and of the run ("COMPLETED").
        exception: the error that ended the last run, where a handler took it.

    Args:
        **kwargs: attributes to set, the ones above or any other.

    Example:
        >>> from framework.engine import State
        >>> State(iteration=3, best=0.5).best
        0.5
    """

    iteration: int
    epoch: int
    epoch_length: int | None
    max_epochs: int | None
    max_iters: int | None
    output: Any
    batch: Any
    metrics: dict[str, Any]
    dataloader: Any
    seed: int | None
    times: dict[str, float | None]
    exception: BaseException | None

    def __init__(self, **kwargs: Any) -> None:
        self.iteration = 0
        self.epoch = 0
        self.epoch_length = None
        self.max_epochs = None
        self.max_iters = None
        self.output = None
        self.batch = None
        self.metrics = {}
        self.dataloader = None
        self.seed = None
        self.times = {Events.EPOCH_COMPLETED.name: None, Events.COMPLETED.name: None}
        self.exception = None
        self._counters = dict(COUNTERS)
        self._max_epochs_of_iters: int | None = None  # the max_epochs that follows from max_iters, as opposed to a given one
        for name, value in kwargs.items():
            setattr(self, name, value)

    if TYPE_CHECKING:  # users put attributes of their own here; at run time this hook would slow every read

        def __getattr__(self, name: str) -> Any: ...
        def __setattr__(self, name: str, value: Any) -> None: ...

    def add_counter(self, event: str, attribute: str) -> None:
        """Makes `attribute` the counter of a custom event; it starts at 0 unless it is there already."""
        self._counters[event] = attribute
        if attribute not in self.__dict__:
            setattr(self, attribute, 0)

    def get_event_attrib_value(self, event_name: EventLike) -> int:
        """Returns the counter of an event: the iteration or the epoch, or a custom event's own.

        Raises:
            RuntimeError: the event has no counter.
        """
        name: Any = getattr(event_name, "name", event_name)
        if name not in self._counters:
            raise RuntimeError(f"Unknown event name '{name}': events with a counter are {', '.join(self._counters)}")
        count: int = getattr(self, self._counters[name])
        return count

    def __repr__(self) -> str:
        lines = [f"\t{name}: {value if isinstance(value, Number | str) else type(value)}" for name, value in _public(self).items()]
        return "State:\n" + "\n".join(lines) + "\n"


def _public(state: State) -> dict[str, Any]:
    return {name: value for name, value in state.__dict__.items() if not name.startswith("_")}
