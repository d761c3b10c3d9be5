"""One run in a folder at a time."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

from framework.errors import CheckpointError, ResumeError

_NAME = "run.lock"
_held: dict[Path, int] = {}
"""The folders that a process has locked, with its number: a forked child inherits this, but not the locks."""


class FolderLock:
    """Holds a folder inside a `with` block: nobody else can then, in this process or another one.

    The system takes the lock back when the process ends, in whatever way; processes forked from it do not hold it. The file
    `run.lock` stays and says who held it last. The process that holds it must not open that file anywhere else: closing it there
    would give the lock away.

    Args:
        folder: of the run; it must exist.

    Raises:
        ResumeError: on entering: someone else holds the folder.
        CheckpointError: on entering: the folder cannot be locked.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> from framework.checkpoint import FolderLock
        >>> with TemporaryDirectory() as folder, FolderLock(Path(folder)):
        ...     try:
        ...         with FolderLock(Path(folder)): ...
        ...     except ValueError as error:
        ...         print("Refused:", error)
        Refused: ... is in use by another run: process ... on .... Wait for it to end, or give this run a folder of its own.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> FolderLock:
        self._key = self.folder.resolve()
        me = f"process {os.getpid()} on {socket.gethostname()}"
        if _held.get(self._key) == os.getpid():
            raise self._refusal(me)
        try:
            self._descriptor = os.open(self.folder / _NAME, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                if not _lock(self._descriptor):
                    raise self._refusal(os.read(self._descriptor, 200).decode(errors="replace").strip())
                os.ftruncate(self._descriptor, 0)
                os.write(self._descriptor, me.encode())
            except BaseException:
                os.close(self._descriptor)
                raise
        except OSError as error:
            raise CheckpointError(
                f"{self.folder} cannot be locked for this run: {error}. Give the run a folder that exists, may be written to, and "
                "lies on a file system that knows locks."
            ) from error
        _held[self._key] = os.getpid()
        return self

    def __exit__(self, *exception: object) -> None:
        del _held[self._key]
        os.close(self._descriptor)

    def _refusal(self, holder: str) -> ResumeError:
        return ResumeError(
            f"{self.folder} is in use by another run: {holder or 'a process that has not said its number yet'}. "
            "Wait for it to end, or give this run a folder of its own."
        )


def _lock(descriptor: int) -> bool:
    """Locks a file; says False where another process holds it."""
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(descriptor, 1 << 20, os.SEEK_SET)  # beyond the text, which others could not read otherwise
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            os.lseek(descriptor, 0, os.SEEK_SET)
        else:
            import fcntl

            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # the two ways in which systems say that it is held
        return False
    return True
