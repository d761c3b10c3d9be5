"""The curves of a run in its file, which rank 0 writes and every rank may read."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, TypeAlias

from framework.distributed.group import Group
from framework.loggers.jsonl import Curve, MetricsFile

AnyCurves: TypeAlias = "MetricsFile | SharedCurves"


class SharedCurves:
    """A `MetricsFile` of several processes, with the same verbs.

    Args:
        file: nothing but rank 0 writes it.
        group: the processes.
    """

    def __init__(self, file: MetricsFile, group: Group) -> None:
        self.path: Path = file.path
        self._file = file
        self._group = group

    def points(self, iteration: int, epoch: int, time_s: float, values: Any) -> None:
        """Appends points; elsewhere than on rank 0 nothing happens."""
        if self._group.is_main:
            self._file.points(iteration, epoch, time_s, values)

    def row(self, values: Any) -> None:
        """Appends a row; elsewhere than on rank 0 nothing happens."""
        if self._group.is_main:
            self._file.row(values)

    def position(self) -> int:
        """Returns what `cut` needs; 0 elsewhere than on rank 0."""
        return self._file.position() if self._group.is_main else 0

    def cut(self, position: int) -> None:
        """Takes away what was written after `position`, before any rank goes on."""
        if self._group.is_main:
            self._file.cut(position)
        self._group.barrier("cutting the curves")

    def read(self) -> tuple[dict[str, Curve], list[dict[str, Any]]]:
        """Returns the curves and the history; what is damaged is told by rank 0 alone."""
        if self._group.is_main:
            return self._file.read()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self._file.read()
