"""Draws how long steps take, and how much of that is the wait for data."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

from framework.engine.engine import Engine
from framework.engine.events import Events
from framework.handlers.gauges import add_gauge


class Timers:
    """Adds the speed of the training to the curves, at each of their points: means since the point before.

    - "train/time/iteration_s": seconds an iteration, from asking for its batch to its end;
    - "train/time/data_s": of these, the wait for the batch and its move to the device;
    - "train/time/samples_per_s": samples a second; of several processes, those of the first.

    Evaluations, checkpoints and what else lies between two iterations are not in it. Nothing waits for the device in a step. Where
    it computes beside the program, as CUDA does, a step that was only begun is not yet paid for: what is still to be computed at
    a point, where its values are read, is waited for there and counted then. So the means between points are those of the device;
    a checkpoint between two points waits as well, and that wait is not counted. `data_s` has only what the program waited for.
    Measuring costs about two microseconds an iteration.

    The numbers depend on the clock: they are in the curves alone, in no metrics and no checkpoint, so a run that goes on ends with
    the bits of one that was never stopped.

    Example:
        >>> import torch
        >>> from framework import Timers, TrainModule
        >>> class Line(TrainModule):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.layer = torch.nn.Linear(1, 1)
        ...     def training_step(self, batch):
        ...         return self.layer(batch).square().mean()
        ...     def configure_optimizers(self):
        ...         return torch.optim.SGD(self.parameters(), lr=0.1)
        >>> result = Line().fit([torch.ones(2, 1)] * 4, max_epochs=1, handlers=[Timers()], progress=False)
        >>> sorted(result.series)
        ['train/loss', 'train/lr', 'train/time/data_s', 'train/time/iteration_s', 'train/time/samples_per_s']
        >>> sorted(result.metrics)
        ['train/loss']
    """

    def __init__(self) -> None:
        self._began: float | None = None  # the iteration at hand; None where that was in another process
        self._ended = 0.0  # the last iteration
        self._last = 0  # its number
        self._count_samples: Callable[[], int] = lambda: 1
        self._begin_anew()

    def on_started(self, engine: Engine) -> None:
        """Begins to measure."""
        self._count_samples = add_gauge(engine, self, self._read).samples
        self._began = None
        self._begin_anew()
        if engine.state.dataloader is None:  # no batch is asked for
            engine.add_event_handler(Events.ITERATION_STARTED, self.on_get_batch_started)

    def on_get_batch_started(self, engine: Engine) -> None:
        """Notes that an iteration begins."""
        self._began = perf_counter()

    def on_get_batch_completed(self, engine: Engine) -> None:
        """Adds the wait for the batch."""
        if self._began is not None:
            self._data += perf_counter() - self._began

    def on_iteration_completed(self, engine: Engine) -> None:
        """Adds the iteration."""
        if self._began is not None:
            self._ended = now = perf_counter()
            self._seconds += now - self._began
            self._iterations += 1
            self._samples += self._count_samples()
            self._last = engine.state.iteration

    def on_closed(self) -> None:
        """Lets go of the run."""
        self._count_samples = lambda: 1

    def _begin_anew(self) -> None:
        self._seconds = self._data = 0.0
        self._iterations = self._samples = 0

    def _read(self, iteration: int) -> dict[str, float]:
        if not self._iterations:
            return {}
        seconds, count = self._seconds, self._iterations
        if iteration == self._last:
            seconds += perf_counter() - self._ended  # the wait for what the device had still to do
        read = {"iteration_s": seconds / count, "data_s": self._data / count, "samples_per_s": self._samples / seconds}
        self._begin_anew()
        return {f"time/{name}": value for name, value in read.items()}
