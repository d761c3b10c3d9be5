"""Writes the page of some runs."""

from __future__ import annotations

import os
from collections.abc import Iterable
from os import PathLike
from pathlib import Path

from framework.errors import ConfigError
from framework.report.page import draw_report
from framework.report.reading import read_run


def write_report(folders: str | PathLike[str] | Iterable[str | PathLike[str]], target: str | PathLike[str]) -> Path:
    """Writes a page with the curves of one run, or of several over each other, and returns its path.

    The page is one file that needs no network: curves of all metrics, learning rate, speed, settings, environment, and links to the
    checkpoints. A run that is at work is shown as far as it is. At any moment the old page or the new one is there, whole.

    Args:
        folders: the `run_dir` of a run, or of several.
        target: the file.

    Raises:
        ConfigError: a folder holds no run, or the file cannot be written.

    Example:
        >>> import tempfile, torch
        >>> from framework import TrainModule, write_report
        >>> class Line(TrainModule):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.layer = torch.nn.Linear(1, 1)
        ...     def training_step(self, batch):
        ...         return self.layer(batch).square().mean()
        ...     def configure_optimizers(self):
        ...         return torch.optim.SGD(self.parameters(), lr=0.1)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("a", "b"):
        ...         _ = Line().fit([torch.ones(2, 1)], max_epochs=3, run_dir=f"{folder}/{name}", progress=False)
        ...     page = write_report([f"{folder}/a", f"{folder}/b"], f"{folder}/both.html")
        ...     page.name, page.read_text().startswith("<!doctype html>")
        ('both.html', True)
    """
    given = [folders] if isinstance(folders, str | PathLike) else list(folders)
    runs = [read_run(folder) for folder in {Path(folder).resolve(): folder for folder in given}.values()]
    if not runs:
        raise ConfigError("No run was given to draw a report of. Give the folder of a run, such as runs/digits.")
    path = Path(target)
    temporary = path.with_name(f".tmp-{path.name}-{os.getpid()}")
    try:
        temporary.write_bytes(draw_report(runs, path.parent).encode(errors="backslashreplace"))
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise ConfigError(f"{path} cannot be written: {error.strerror or error}. Give a file in a folder that is there.") from error
    return path
