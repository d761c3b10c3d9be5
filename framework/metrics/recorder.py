"""Means of what steps return and log, without making a device wait: values stay where they are until all are read together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import inf
from numbers import Real
from time import time
from typing import Any, NamedTuple

import torch
from torch import Tensor

from framework.errors import StepError
from framework.metrics.channel import Channel, Sums
from framework.metrics.gauges import Gauge, Gauges


class Point(NamedTuple):
    """One point of a curve.

    Attributes:
        iteration: when it was read, counted over the run.
        value: the mean since the point before.
        epoch: the epoch it lies in.
        time_s: wall-clock time, seconds since 1970.
    """

    iteration: int
    value: float
    epoch: int
    time_s: float


def _weight(name: str, n: Any) -> float:
    if not (isinstance(n, Real) and 0 <= float(n) < inf):
        hint = " Write n.item() if nothing has to wait for it." if isinstance(n, Tensor) else ""
        raise StepError(
            f"log({name!r}, ..., n={n!r}): the weight n should be a number of at least 0, got {type(n).__name__}.{hint}"
        )
    return float(n)


def _snapshot(value: Tensor) -> Tensor:
    """Returns a copy, since a parameter or buffer would change before it is read; of one type, so that all can be stacked."""
    widest = torch.float32 if value.device.type in ("mps", "xla", "tpu") else torch.float64
    return value.detach().reshape(()).to(widest, copy=True)


class Recorder:
    """Records scalars by name and gives their means: since the last `flush` as points of curves, and over all since `clear`.

    Means are weighted by the number of samples and summed in float64.

    Args:
        stage: put before each name: "train" makes "loss" into "train/loss".
        reads_cost_nothing: read tensors at once, where no device has to be waited for; else they wait for the next `flush`.

    Attributes:
        samples: gives the number of samples in the batch at hand, the weight of a value logged without one.
        paused: nothing is recorded.
        over_ranks: adds sums by name up over the processes of a run; None where there is one.
        share: tells what the batch at hand counts among those of all processes. Of one that counts 0.0, another process has the
            samples; it gives names, which all have to have, and no weight. None where there is one process.
        series: the points of each curve.
        latest: the newest mean of each curve.

    Example:
        >>> from framework.metrics import Recorder
        >>> recorder = Recorder("train")
        >>> recorder.log("loss", 1.0, n=1); recorder.log("loss", 4.0, n=2)
        >>> _ = recorder.flush(iteration=2, epoch=1); recorder.means()
        {'train/loss': 3.0}
    """

    over_ranks: Callable[[str, Mapping[str, Sums]], Mapping[str, Sums]] | None = None
    share: Callable[[], float] | None = None

    def __init__(self, stage: str, *, reads_cost_nothing: bool = False) -> None:
        self.stage = stage
        self.samples: Callable[[], int] = lambda: 1
        self.paused = False
        self._reads_cost_nothing = reads_cost_nothing
        self._returned: set[str] = set()  # names that only what a step returns may use
        self._reserved: set[str] = set()  # of those, names that `record` may not use either
        self._taken_up: set[str] = set()  # reserved in the process before
        self.series: dict[str, list[Point]] = {}
        self.latest: dict[str, float] = {}
        self._channels: dict[str, Channel] = {}
        self._gauges = Gauges()

    def channel(self, name: str) -> Channel:
        """Returns the channel of a name, new or not."""
        return self._channels.setdefault(name, Channel())

    def reserve(self, name: str) -> Channel:
        """Returns the channel of a name that from now on nobody else may use.

        Raises:
            StepError: something was recorded under it.
        """
        if name in self._channels and name not in self._taken_up:
            raise StepError(f"{self.stage}/{name} is recorded twice: by log and as the loss of the step. Rename what is logged.")
        self._reserved.add(name)
        self._returned.add(name)
        return self.channel(name)

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Records nothing while the block runs: what is computed there was recorded already."""
        self.paused = True
        try:
            yield
        finally:
            self.paused = False

    def log(self, name: str, value: Any, n: float | None = None) -> None:
        """Records `value` under `name`.

        Args:
            name: any text; the stage is put before it.
            value: a number, or a tensor of one element, which stays on its device.
            n: weight in the mean; None for the number of samples in the batch at hand.

        Raises:
            StepError: not a scalar, a negative weight, or a name that the step's return value records.
        """
        if not isinstance(name, str) or not name:
            raise StepError(f"log(name, value) needs a non-empty text as name, got {name!r}")
        if name in self._returned:
            raise StepError(
                f"log({name!r}, ...): {self.stage}/{name} is recorded from what the step returns. Log under another name."
            )
        self._keep(name, value, None if n is None else _weight(name, n))

    def record(self, name: str, value: Any, n: float | Tensor | None = None) -> None:
        """Records what a step returned under `name`. `log` may not use the name then.

        Args:
            name: any text; the stage is put before it.
            value: as for `log`.
            n: weight in the mean, which may stay on its device; None as for `log`.

        Raises:
            StepError: not a scalar, or a name under which something was logged.
        """
        if name in self._reserved or (name not in self._returned and name in self._channels):
            other = "as its loss" if name in self._reserved else "by log"
            raise StepError(f"{self.stage}/{name} is recorded twice: {other} and by what the step returns. Rename one.")
        self._returned.add(name)
        self._keep(name, value, n)

    def _keep(self, name: str, value: Any, n: float | Tensor | None) -> None:
        if self.paused:
            return
        if isinstance(value, Tensor):
            if value.numel() != 1:
                raise StepError(f"{name!r} should be a scalar, got a tensor of shape {tuple(value.shape)}. Take its mean() first.")
            kept = value.item() if self._reads_cost_nothing else _snapshot(value)
        elif isinstance(value, Real) or getattr(value, "shape", None) == ():  # the second: numpy's arrays of no dimension
            kept = float(value)
        else:
            raise StepError(f"{name!r} should be a number or a tensor of one element, got {value!r} ({type(value).__name__}).")
        channel = self.channel(name)
        channel.values.append(kept)
        channel.weights.append(0.0 if self.share is not None and self.share() == 0.0 else self.samples() if n is None else n)

    def gauge(self, read: Gauge, *, yields: bool = False) -> None:
        """Asks `read` for numbers at each point of the curves, which get one of each: a learning rate, the memory in use.

        They are no part of `means` and `latest`, and so neither of the metrics of a run nor of its further course: they may depend
        on the clock. A second call with the same function changes nothing.

        Args:
            read: is given the iteration, once for each that has a point, when all that was recorded is off the device; returns
                numbers by name, without the stage.
            yields: leaves out the names that something else is recorded under, which are an error otherwise.
        """
        self._gauges.add(read, yields=yields)

    def read(self) -> dict[str, list[float]]:
        """Reads everything recorded since it was last called, off the device; no curve gets a point.

        Returns:
            The values read, by name, oldest first.
        """
        return {name: channel.read() for name, channel in self._channels.items() if channel.values}

    def flush(self, iteration: int, epoch: int) -> dict[str, float]:
        """Adds a point to each curve: the mean of what was recorded since the last flush.

        Returns:
            The new points, by full name.

        Raises:
            StepError: a value is complex, or a gauge gives a name that something else is recorded under.
        """
        self.read()
        now, points = time(), {}
        sums: Mapping[str, Sums] = {name: channel.take() for name, channel in self._channels.items() if channel.values}
        if self.over_ranks is not None:
            sums = self.over_ranks(self.stage, sums)
        for name, each in sums.items():
            if (mean := self._channels[name].add(each)) is not None:
                points[f"{self.stage}/{name}"] = mean
        if unreal := [name for name, mean in points.items() if isinstance(mean, complex)]:
            raise StepError(f"{unreal[0]} is complex, and only real numbers are recorded. Log its .real, .abs() or .angle().")
        self.latest.update(points)
        self._gauges.read_into(points, self.stage, self._channels, iteration)
        for key, mean in points.items():
            self.series.setdefault(key, []).append(Point(iteration, mean, epoch, now))
        return points

    def means(self) -> dict[str, float]:
        """Returns the means over all that was read since `clear`, by full name."""
        return {
            f"{self.stage}/{name}": channel.total / channel.weight for name, channel in self._channels.items() if channel.weight
        }

    def clear(self) -> None:
        """Starts the means anew; curves stay."""
        for channel in self._channels.values():
            channel.total = channel.weight = 0.0

    def pending(self) -> dict[str, Any]:
        """Returns values and weights since the last point, by name; everything is read off the device first."""
        self.read()
        return {name: {"values": [*kept.values], "weights": [*kept.weights]} for name, kept in self._channels.items()}

    def load_pending(self, saved: Sequence[Mapping[str, Any]], *, counts: bool = True) -> None:
        """Takes the values that `pending` has returned, in several processes maybe, in the place of its own.

        Args:
            saved: of each process.
            counts: else the values get no weight: another process has them.
        """
        for channel in self._channels.values():
            channel.set([], [])
        for each in saved:
            for name, kept in each.items():
                channel = self.channel(name)
                weights = kept["weights"] if counts else [0.0] * len(kept["weights"])
                channel.set([*channel.values, *kept["values"]], [*channel.weights, *weights])

    def state_dict(self) -> dict[str, Any]:
        """Returns all but the curves, in plain values; everything is read off the device first."""
        pending = self.pending()
        channels = {name: {**pending[name], "total": kept.total, "weight": kept.weight} for name, kept in self._channels.items()}
        reserved = sorted(self._reserved | self._taken_up)
        return {
            "channels": channels,
            "returned": sorted(self._returned),
            "reserved": reserved,
            "latest": dict(self.latest),
            "gauged_at": self._gauges.read_at,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes up what `state_dict` returned."""
        for name, saved in state["channels"].items():
            channel = self.channel(name)
            channel.set(saved["values"], saved["weights"])
            channel.total, channel.weight = saved["total"], saved["weight"]
        self._returned.update(state["returned"])
        self._taken_up.update(state["reserved"])
        self.latest.update(state["latest"])
        self._gauges.read_at = state.get("gauged_at")
