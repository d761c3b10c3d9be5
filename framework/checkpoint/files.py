"""What a save asks of the file system, a call each, so that a test can end the process or cut the power at any of them.

Nothing here follows a link, and errors are the system's own.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO

from framework.errors import CheckpointError

_BUFFER = 1 << 20
_FULL = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}


def make_folder(path: Path) -> None:
    """Makes a folder that only its owner can enter."""
    path.mkdir(mode=0o700)


def create(path: Path) -> BinaryIO:
    """Opens a file that must not exist yet."""
    return path.open("xb", buffering=_BUFFER)


def write(file: BinaryIO, data: bytes | memoryview) -> None:
    """Writes all of `data`."""
    file.write(data)


def sync(file: BinaryIO) -> None:
    """Returns when what was written is on the disk."""
    file.flush()
    os.fsync(file.fileno())


def close(file: BinaryIO) -> None:
    """Closes a file."""
    file.close()


def sync_folder(path: Path) -> None:
    """Returns when the names in a folder are on the disk. Windows has no such call."""
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # how some network file systems say that names need no call of their own
            raise
    finally:
        os.close(descriptor)


def rename(source: Path, target: Path) -> None:
    """Gives a file or folder another name, in one step; a file of that name is replaced."""
    source.replace(target)


def remove_file(path: Path) -> None:
    """Removes one file or link."""
    path.unlink()


def remove_folder(path: Path) -> None:
    """Removes an empty folder."""
    path.rmdir()


def remove(path: Path) -> None:
    """Removes a file, or a folder and what is in it."""
    if path.is_symlink() or not path.is_dir():
        remove_file(path)
        return
    for inner in sorted(path.iterdir()):
        remove(inner)
    remove_folder(path)


def write_anew(path: Path, data: bytes) -> None:
    """Writes a small file and returns when it is on the disk; one of that name goes first."""
    path.unlink(missing_ok=True)
    file = create(path)
    try:
        write(file, data)
        sync(file)
    finally:
        close(file)


def write_json(path: Path, content: Any) -> None:
    """Writes a small file of JSON in place of the one that is there."""
    replace(path, json.dumps(content, allow_nan=False).encode())


def replace(path: Path, data: bytes) -> None:
    """Writes a small file in place of the one that is there: at any moment the old or the new one is there, whole."""
    temporary = path.with_name(f".tmp-{path.name}-{os.getpid()}")
    write_anew(temporary, data)
    rename(temporary, path)
    sync_folder(path.parent)


def is_regular(path: Path) -> bool:
    """Says whether there is a plain file: no link, folder, pipe or device."""
    return os.path.lexists(path) and stat.S_ISREG(path.lstat().st_mode)


def open_regular(path: Path) -> BufferedReader:
    """Opens a file for reading, unless it is a link."""
    return open(path, "rb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NOFOLLOW", 0)))


def cannot_write(doing: str, error: OSError) -> CheckpointError:
    """Returns what to raise when the system refused to write.

    Args:
        doing: what was tried, with its path, such as "Saving step 3 as runs/a/step-00000003".
        error: what the system said.
    """
    if error.errno in _FULL:
        return CheckpointError(
            f"{doing} failed: the disk is full, or a quota or limit of file sizes is reached ({error}). "
            "Earlier checkpoints are untouched. Make room, or save to another disk."
        )
    return CheckpointError(
        f"{doing} failed: {error}. Earlier checkpoints are untouched. See that the folder exists and may be written to."
    )
