"""The numbers of a run in a file of lines: appended to, whole after a kill, cut back when a run is resumed."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping
from errno import ENOENT
from io import FileIO
from math import isfinite, isnan
from pathlib import Path
from typing import Any

_TAIL = 1 << 16  # bytes read at once in the search for the last whole line
_NAMED = 10  # damaged lines that are named, at most
_NOT_FINITE = {text: float(text) for text in ("NaN", "Infinity", "-Infinity")}

Curve = list[tuple[int, float, int, float]]
"""Points of a curve: (iteration, value, epoch, seconds since 1970), oldest first."""


class MetricsFile:
    """Keeps the curves and the history of a run in a file such as `metrics.jsonl`, one JSON object a line.

    ```
    {"kind": "points", "iteration": 50, "epoch": 1, "time_s": 1700000000.0, "values": {"train/loss": 0.5}}
    {"kind": "row", "values": {"epoch": 1, "iteration": 50, "train/loss": 0.5, "val/loss": "NaN"}}
    ```

    Each line is handed to the system at once, so a killed process loses none that was written. Where the file cannot be written,
    a warning says so once, the file is left alone, and the run goes on.

    Numbers, texts, True, False and None come back as they were. NaN and the infinities are written as the texts "NaN", "Infinity"
    and "-Infinity", for which JSON has no numbers, and come back as numbers. Tensors and arrays become nested lists, tuples lists,
    mappings objects with texts as keys, and anything else its `repr`.

    Args:
        path: the file. Nothing is touched before the first line; what is there then is appended to.

    Attributes:
        failed: whether a line could not be written; the file then ends before it.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from framework.loggers import MetricsFile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = MetricsFile(Path(folder) / "metrics.jsonl")
        ...     file.points(50, 1, 1700000000.0, {"train/loss": 0.5})
        ...     file.row({"epoch": 1, "train/loss": 0.5})
        ...     file.close()
        ...     file.read()
        ({'train/loss': [(50, 0.5, 1, 1700000000.0)]}, [{'epoch': 1, 'train/loss': 0.5}])
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.failed = False
        self._file: FileIO | None = None
        self._end = 0  # bytes, up to the last whole line

    def points(self, iteration: int, epoch: int, time_s: float, values: Mapping[str, float]) -> None:
        """Appends a point to each of some curves.

        Args:
            iteration: when they were read, counted over the run.
            epoch: the epoch it lies in.
            time_s: wall-clock time, seconds since 1970.
            values: by full name.
        """
        self._append({"kind": "points", "iteration": iteration, "epoch": epoch, "time_s": time_s, "values": values})

    def row(self, values: Mapping[str, Any]) -> None:
        """Appends a row of the history."""
        self._append({"kind": "row", "values": values})

    def position(self) -> int:
        """Returns how many bytes are safe on the disk: what `cut` needs to come back to this moment."""
        try:
            if not self.failed:
                os.fsync(self._opened().fileno())
        except OSError as error:
            self._give_up(error)
        return self._end

    def cut(self, position: int) -> None:
        """Takes away what was written after `position`; a file that ends before it is said to be incomplete, by a warning."""
        if self.failed:
            return
        try:
            file = self._opened()
            if self._end < position:
                warnings.warn(
                    f"{self.path} has {self._end} bytes and should have {position}: the curves before this moment are incomplete. "
                    "The run goes on from its checkpoint, and the file is appended to.",
                    UserWarning,
                    stacklevel=2,
                )
            else:
                self._end = _cut_to_whole_lines(file, position)
        except OSError as error:
            self._give_up(error)

    def read(self) -> tuple[dict[str, Curve], list[dict[str, Any]]]:
        """Returns the curves by name, and the rows of the history; both empty where there is no file.

        A last line that was not finished is passed over; other damaged lines too, with a warning that gives their numbers.
        """
        *lines, _ = _whole_lines(self.path).split(b"\n")
        series: dict[str, Curve] = {}
        history: list[dict[str, Any]] = []
        damaged = []
        for number, line in enumerate(lines, start=1):
            try:
                _take(json.loads(line), series, history)
            except (ValueError, TypeError, LookupError, OverflowError, RecursionError):
                damaged.append(number)
        if damaged:
            named = ", ".join(map(str, damaged[:_NAMED])) + (f" and {len(damaged) - _NAMED} more" if len(damaged) > _NAMED else "")
            warnings.warn(
                f"{self.path} is damaged; these lines are passed over, and their points are missing: {named}.",
                UserWarning,
                stacklevel=2,
            )
        return series, history

    def close(self) -> None:
        """Closes the file. A line after that opens it again."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _append(self, line: dict[str, Any]) -> None:
        self._write(json.dumps(to_json(line), allow_nan=False).encode() + b"\n")

    def _write(self, text: bytes) -> None:
        if self.failed:
            return
        try:
            file = self._opened()
            written = file.write(text)
            while written < len(text):  # the disk is full, which the next attempt says
                written += file.write(text[written:])
            if os.fstat(file.fileno()).st_nlink == 0:
                raise FileNotFoundError(ENOENT, "the file was removed")
            self._end += len(text)
        except OSError as error:
            self._give_up(error)

    def _opened(self) -> FileIO:
        if self._file is None:
            self._file = FileIO(self.path, "a+")
            self._end = _cut_to_whole_lines(self._file, self._file.seek(0, os.SEEK_END))
        return self._file

    def _give_up(self, error: OSError) -> None:
        self.failed = True
        self.close()
        warnings.warn(
            f"{self.path} cannot be written: {error.strerror or error}. The run goes on without it; its curves end here.",
            UserWarning,
            stacklevel=4,
        )


def _cut_to_whole_lines(file: FileIO, end: int) -> int:
    """Shortens a file to at most `end` bytes, so that it ends with a line; returns its size then."""
    size, kept = file.seek(0, os.SEEK_END), end
    while kept > 0:
        start = max(kept - _TAIL, 0)
        file.seek(start)
        found = file.read(kept - start).rfind(b"\n")
        kept = start + found + 1
        if found >= 0:
            break
    if kept < size:
        file.truncate(kept)
    return kept


def _whole_lines(path: Path) -> bytes:
    """Returns what a file holds up to its last end of line; nothing where it is missing, or with a warning cannot be read."""
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):  # a device or a pipe may never end
            raise OSError(f"{path.name} is no plain file")
        text = path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        warnings.warn(f"{path} cannot be read, so its curves are missing: {error.strerror or error}.", UserWarning, stacklevel=3)
        return b""
    return text[: text.rfind(b"\n") + 1]


def to_json(value: Any) -> Any:
    """Returns a value such that strict JSON holds it; see `MetricsFile` for what becomes of which."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if isfinite(value) else "NaN" if isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if hasattr(value, "tolist"):  # tensors; arrays and numbers of numpy
        return to_json(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [to_json(item) for item in value]
    return repr(value)


def from_json(value: Any) -> Any:
    """Returns what `to_json` was given, as far as JSON holds it."""
    if isinstance(value, str):
        return _NOT_FINITE.get(value, value)
    if isinstance(value, dict):
        return {key: from_json(item) for key, item in value.items()}
    return [from_json(item) for item in value] if isinstance(value, list) else value


def _take(line: dict[str, Any], series: dict[str, Curve], history: list[dict[str, Any]]) -> None:
    """Adds what a line holds to the curves or to the history.

    Raises:
        ValueError, TypeError, LookupError, OverflowError: it is none of ours.
    """
    kind, values = line["kind"], dict(line["values"])
    if kind == "points":
        iteration, epoch, time_s = int(line["iteration"]), int(line["epoch"]), float(line["time_s"])
        points = [(name, (iteration, float(value), epoch, time_s)) for name, value in values.items()]  # float("NaN") is NaN
        for name, point in points:
            if name not in series:
                series[name] = []
            series[name].append(point)
    elif kind == "row":
        history.append(from_json(values))
    else:
        raise ValueError(f"{kind!r} is no kind of line")
