"""Numbers that are read at each point of the curves and are no means: a learning rate, the memory in use."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from typing import TypeAlias

from framework.errors import StepError

Gauge: TypeAlias = Callable[[int], Mapping[str, float]]
"""Returns, told the iteration, what it reads there by name: nothing, one number or several."""


class Gauges:
    """The gauges of one recorder.

    Attributes:
        read_at: the iteration at which they were read last, None for none.
    """

    def __init__(self) -> None:
        self.read_at: int | None = None
        self._insisting: list[Gauge] = []
        self._yielding: list[Gauge] = []

    def add(self, read: Gauge, *, yields: bool) -> None:
        """Adds a gauge, once. One that yields leaves out the names that something else has."""
        gauges = self._yielding if yields else self._insisting
        if read not in gauges:
            gauges.append(read)

    def read_into(self, points: dict[str, float], stage: str, recorded: Container[str], iteration: int) -> None:
        """Adds what the gauges read to points by full name, once an iteration.

        Args:
            points: that there are; without any, nothing is read.
            stage: what their names begin with.
            recorded: names without the stage that only something else may have.
            iteration: that the gauges are told.

        Raises:
            StepError: a gauge that does not yield gives a name that something else has.
        """
        if not points or iteration == self.read_at:
            return
        self.read_at = iteration
        for gauge in self._insisting:
            for name, value in gauge(iteration).items():
                if (key := f"{stage}/{name}") in points or name in recorded:
                    raise StepError(
                        f"{key} is recorded twice: by a gauge, as handlers such as Norms have one, and by something else. Rename "
                        "what is logged, or leave one of two such handlers out."
                    )
                points[key] = float(value)
        for gauge in self._yielding:
            read = {f"{stage}/{name}": float(value) for name, value in gauge(iteration).items() if name not in recorded}
            points.update({key: value for key, value in read.items() if key not in points})
