"""Numbers in a CSV file, one a line."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from io import FileIO, StringIO
from pathlib import Path

from framework.loggers.adapter import NOTHING, Adapter
from framework.loggers.base import RunFacts

COLUMNS = ("iteration", "epoch", "time_s", "name", "value")
_HEADER = ",".join(COLUMNS).encode() + b"\n"


class CSVLogger(Adapter):
    """Writes each number as a line: iteration, epoch, time_s (seconds since 1970), name, value.

    A name that appears later needs no new column, so the file is only ever added to: what was written stays whole when the
    process is killed. `pandas.read_csv(path).pivot_table(index="iteration", columns="name", values="value")` makes a column of each
    name.

    A run that goes on cuts the file back to where it goes on from, and a run that begins starts it anew; `evaluate` adds to it. A
    file of another kind is left alone.

    Args:
        path: of the file. None: metrics.csv in the run folder, or without one in the working folder.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from framework import CSVLogger, RunFacts
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     logger = CSVLogger(Path(folder) / "metrics.csv")
        ...     logger.begin(RunFacts(verb="fit", module="Digits", hparams={}, settings={}, seed=0))
        ...     logger.points(50, 1, 1700000000.0, {"train/loss": 0.5})
        ...     logger.close("completed", "max_iters=50 was reached.")
        ...     print(Path(folder, "metrics.csv").read_text())
        iteration,epoch,time_s,name,value
        50,1,1700000000.0,train/loss,0.5
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self.path = None if path is None else Path(path)
        self._last = self.path  # where the run before was written
        self._file: FileIO | None = None

    def _open(self, facts: RunFacts) -> int:
        path = self.path or (self._last if facts.verb == "evaluate" else None) or (facts.run_dir or Path()) / "metrics.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        text = there = path.read_bytes() if path.is_file() else b""  # a device would never end
        if not (text.startswith(_HEADER) or _HEADER.startswith(text)):
            raise ValueError(
                f"{path} is no file of CSVLogger, which begins with {_HEADER.decode().strip()!r}; it stays as it is. Give another "
                "path, or remove it"
            )
        text = text[: text.rfind(b"\n") + 1]  # without a last line that was not finished
        if facts.verb == "fit":
            text = text[: _end_of(text, facts.goes_on_from)]
        self._last, self._file = path, FileIO(path, "a")
        if text != there:
            self._file.truncate(len(text))
        if not text:
            self._append(_HEADER)
        return NOTHING if facts.goes_on_from is None or len(text) <= len(_HEADER) else facts.goes_on_from

    def _write(self, iteration: int, epoch: int, time_s: float, values: Mapping[str, float]) -> None:
        lines = StringIO()
        csv.writer(lines, lineterminator="\n").writerows((iteration, epoch, time_s, name, value) for name, value in values.items())
        self._append(lines.getvalue().encode())

    def close(self, status: str, reason: str) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _append(self, text: bytes) -> None:
        file = self._file
        assert file is not None, "begin has opened it"
        try:
            while text:
                text = text[file.write(text) :]
        except OSError:
            file.close()  # nobody does it after that
            raise


def _end_of(text: bytes, iteration: int | None) -> int:
    """Returns how many bytes a run that goes on from an iteration keeps; None for one that begins."""
    if iteration is None:
        return 0
    end = 0
    for number, line in enumerate(text.splitlines(keepends=True)):
        if number and int(line.split(b",", 1)[0]) > iteration:
            break
        end += len(line)
    return end
