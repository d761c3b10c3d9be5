"""Numbers for TensorBoard."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from framework.loggers.adapter import NOTHING, Adapter, configuration, flat
from framework.loggers.base import RunFacts
from framework.loggers.optional import needed


class TensorBoardLogger(Adapter):
    """Writes event files: `tensorboard --logdir FOLDER` shows them. Needs the extra `tensorboard`.

    Each number is a scalar of its name at its iteration; arguments and settings are a text. What is written is in the file at once.

    A run that goes on adds a file that hides what lies after the iteration it goes on from, and a run that begins hides what the
    folder holds of runs before: TensorBoard purges it when it reads the files. `evaluate` adds to the folder.

    Args:
        folder: None: tensorboard in the run folder, or without one in the working folder.

    Raises:
        SettingError: the package is not there.

    Example:
        >>> from framework import TensorBoardLogger, TrainModule
        >>> def train(model: TrainModule, batches):
        ...     return model.fit(batches, max_epochs=1, run_dir="runs/first", loggers=[TensorBoardLogger()])
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None) -> None:
        self._tensorboard = needed("torch.utils.tensorboard", "tensorboard", "TensorBoardLogger")
        self.folder = None if folder is None else Path(folder)
        self._last = self.folder  # where the run before was written
        self._writer: Any = None

    def _open(self, facts: RunFacts) -> int:
        folder = self.folder or (self._last if facts.verb == "evaluate" else None) or (facts.run_dir or Path()) / "tensorboard"
        there = any(folder.glob("events.out.tfevents.*"))
        begins = facts.goes_on_from is None
        purged_from = None if facts.verb == "evaluate" or not there else 0 if facts.goes_on_from is None else facts.goes_on_from + 1
        self._last, self._writer = folder, self._tensorboard.SummaryWriter(str(folder), purge_step=purged_from)
        if begins:
            lines = [f"    {name}: {value!r}" for name, value in flat(configuration(facts)).items()]
            self._writer.add_text(facts.verb, "\n".join(lines), self._iteration if facts.verb == "evaluate" else 0)
        self._writer.flush()
        return NOTHING if facts.goes_on_from is None or not there else facts.goes_on_from

    def _write(self, iteration: int, epoch: int, time_s: float, values: Mapping[str, float]) -> None:
        for name, value in {**values, "epoch": epoch}.items():
            self._writer.add_scalar(name, value, iteration, walltime=time_s)
        self._writer.flush()

    def close(self, status: str, reason: str) -> None:
        self._writer.add_text("end", f"{status}: {reason}", self._iteration)
        self._writer.close()
