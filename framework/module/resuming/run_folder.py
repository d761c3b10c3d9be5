"""The folder of a run: its checkpoints, its curves, and how far it is; held by one process at a time."""

from __future__ import annotations

import json
import shutil
import sys
import warnings
from collections.abc import Mapping
from contextlib import ExitStack
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import framework.checkpoint.files as files
from framework.checkpoint.background import BackgroundSaver
from framework.checkpoint.folder import Checkpoint
from framework.checkpoint.lock import FolderLock
from framework.checkpoint.sharded import is_sharded
from framework.checkpoint.store import CheckpointStore
from framework.distributed.group import Group
from framework.errors import CheckpointError, ResumeError
from framework.loggers.jsonl import MetricsFile, from_json, to_json
from framework.module.ranks.curves import SharedCurves
from framework.module.resuming.provenance import CONFIG_FILE, ENVIRONMENT_FILE
from framework.module.resuming.stored_weights import CHECKPOINTS, find_checkpoint
from framework.report.writing import write_report

RUN_FILE = "run.json"
REPORT_FILE = "report.html"
_WHOLE_FILES = (RUN_FILE, REPORT_FILE, CONFIG_FILE, ENVIRONMENT_FILE)
FORMAT = 1
_STATUS = {
    "status": (str,),
    "reason": (str,),
    "iteration": (int,),
    "epoch": (int,),
    "origin": (str, type(None)),
    "metrics": (dict,),
}


class RunFolder:
    """Opens the folder of a run: makes it, locks it, cleans up after a killed process.

    Of several processes the first one writes; the others read, and write their part of a checkpoint that is sharded.

    Args:
        path: of the folder.
        keep: checkpoints to keep.
        in_background: write checkpoints beside the training.
        group: the processes of the run; None for one.

    Attributes:
        writes: whether this process writes.
        store: the checkpoints.
        curves: metrics.jsonl.
        origin: the run or checkpoint elsewhere that the run has started from, None for none.

    Raises:
        ResumeError: another run is at work in it.
        CheckpointError: it cannot be written to.
    """

    origin: str | None = None

    def __init__(
        self, path: str | PathLike[str], keep: int | None, *, in_background: bool = False, group: Group | None = None
    ) -> None:
        self.path = Path(path)
        self.writes = group is None or group.is_main
        self._group = group
        self.store = CheckpointStore(self.path / CHECKPOINTS, keep)
        self._in_background = in_background
        self._background: BackgroundSaver | None = None
        self._open = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            if self.writes:
                self._prepare(stack)
            file = MetricsFile(self.path / "metrics.jsonl")
            stack.callback(file.close)
            self.curves = file if self._group is None else SharedCurves(file, self._group)
            if self._group is not None:
                self._group.barrier(f"opening {self.path}")
                self._refuse_unseen()
            self._open = stack.pop_all()
        return self

    def _prepare(self, stack: ExitStack) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise files.cannot_write(f"Making the folder {self.path} of the run", error) from error
        stack.enter_context(FolderLock(self.path))
        self.store.prepare()
        self._remove_strays()
        if self._in_background:
            self._background = BackgroundSaver(self.store)
            stack.push(self._close_background)

    def _refuse_unseen(self) -> None:
        """Refuses a folder that the other processes do not see: they could not go on with the run."""
        if not self.path.is_dir():
            raise CheckpointError(
                f"{self.path} was made by rank 0 and is not there for this process. Give a run_dir on a file system that all "
                "machines of the run share."
            )

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._open.__exit__(kind, error, trace)

    def _close_background(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._background is not None
        try:
            self._background.close()
        except CheckpointError as failed:
            if error is None:
                raise
            error.add_note(f"Besides, the checkpoint that was being written is lost. {failed}")

    def status(self) -> dict[str, Any] | None:
        """Returns what is known of the run in the folder; None where there is none.

        Raises:
            ResumeError: run.json is of another format, or damaged.
        """
        file = self.path / RUN_FILE
        if not file.exists():
            return None
        try:
            status: Any = json.loads(file.read_text())
        except (OSError, ValueError) as error:
            raise ResumeError(f"{file} cannot be read: {error}. Remove it to go on from the newest checkpoint.") from error
        if not isinstance(status, dict) or status.get("format") != FORMAT:
            found = status.get("format") if isinstance(status, dict) else None
            raise ResumeError(f"{file} has format {found!r}; this version reads {FORMAT}.")
        wrong = [name for name, kinds in _STATUS.items() if type(status.get(name)) not in kinds]
        if wrong:
            raise ResumeError(
                f"{file} is damaged: {wrong[0]} is {status.get(wrong[0])!r}. Remove it to go on from the newest checkpoint."
            )
        return {**status, "metrics": from_json(status["metrics"])}

    def write_status(self, metrics: Mapping[str, Any], **facts: Any) -> None:
        """Writes how the run stands."""
        if not self.writes:
            return
        try:
            content = {"format": FORMAT, "command": sys.argv, "origin": self.origin, **facts, "metrics": to_json(dict(metrics))}
            files.write_json(self.path / RUN_FILE, content)
        except OSError as error:
            raise files.cannot_write(f"Writing {self.path / RUN_FILE}", error) from error

    def draw(self) -> None:
        """Draws the run as report.html. Where that fails, a warning says why: the run itself is saved."""
        if not self.writes:
            return
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what is damaged in the folder was told when the run went on
                write_report(self.path, self.path / REPORT_FILE)
        except Exception as error:  # noqa: BLE001  # whatever it is: it is told, and no reason to lose the result of a run
            warnings.warn(
                f"{self.path / REPORT_FILE} could not be drawn: {type(error).__name__}: {error} The run is whole; "
                f"`framework report {self.path}` draws it later.",
                UserWarning,
                stacklevel=2,
            )

    def _remove_strays(self) -> None:
        """Removes what processes have left that were killed in a write; nobody else is at work here now."""
        try:
            for name in _WHOLE_FILES:
                for stray in self.path.glob(f".tmp-{name}-*"):
                    files.remove_file(stray)
        except OSError as error:
            raise files.cannot_write(f"Removing what a killed process has left in {self.path}", error) from error

    def save(self, step: int, parts: Mapping[str, Any], *, best: bool, facts: Mapping[str, Any]) -> None:
        """Writes a checkpoint, at once or in the background."""
        if self._group is not None and is_sharded(parts):
            self.store.save(step, parts, best=best, facts=facts, group=self._group)
            return
        if self.writes:
            (self._background or self.store).save(step, parts, best=best, facts=facts)
        if self._group is not None:
            self._group.barrier(f"the checkpoint of step {step}")  # a watchdog allows all of them the time that rank 0 takes

    def wait(self) -> None:
        """Waits for what is being written in the background; raises what went wrong there."""
        if self._background is not None:
            self._background.wait()


def start_from(folder: RunFolder, source: str | PathLike[str]) -> Checkpoint:
    """Returns the checkpoint that a run in a new folder starts from; its curves are copied.

    Raises:
        ResumeError: the folder holds a run already.
        CheckpointError: there is no checkpoint in `source`, or its curves cannot be copied.
    """
    checkpoint = find_checkpoint(source)
    run = next((parent for parent in checkpoint.path.parents if (parent / RUN_FILE).exists()), None)
    taken = folder.store.checkpoints()
    if taken:  # without a checkpoint nothing of a run would be lost: a process that was killed early may be started again
        if checkpoint.path.resolve() == taken[0].resolve():
            return checkpoint  # its own newest
        raise ResumeError(
            f"resume={str(source)!r}: {folder.path} holds a run already, which stays as it is. Give a new run_dir to start from "
            f"{checkpoint.path.name}, or resume='auto' to go on with the run that is there."
        )
    if folder.writes and run is not None and (run / "metrics.jsonl").exists():
        try:
            shutil.copyfile(run / "metrics.jsonl", folder.path / "metrics.jsonl")
        except OSError as error:
            raise files.cannot_write(f"Copying the curves of {run} to {folder.path}", error) from error
    folder.origin = origin_of(source)
    return checkpoint


def origin_of(source: str | PathLike[str]) -> str:
    """Returns how a run notes where it has started from."""
    return str(Path(source).resolve())
