"""A new file, written and summed up in one go."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import NamedTuple

import framework.checkpoint.files as files

_PIECE = 16 << 20
_AHEAD = 8
_SYNC_EVERY = 64 << 20


class Entry(NamedTuple):
    """What a manifest says of one file: its size in bytes, and its SHA-256 in hexadecimal digits."""

    size: int
    sha256: str


class HashingWriter:
    """Writes a new file; when its block is left, the data is on the disk and `entry` is there.

    The sum is made by a thread beside the writing, which costs nearly nothing then: neither holds the interpreter. What is
    written must not change before the block is left.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> from framework.checkpoint.writer import HashingWriter
        >>> with TemporaryDirectory() as folder:
        ...     with HashingWriter(Path(folder, "a.json")) as file:
        ...         file.write(b"[]")
        >>> file.entry
        Entry(size=2, sha256='4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945')
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sum = sha256()
        self._size = 0
        self._pieces: Queue[memoryview | None] = Queue(_AHEAD)
        self._hasher = Thread(target=self._hash, name="checkpoint-sum", daemon=True)

    def __enter__(self) -> HashingWriter:
        self._file = files.create(self._path)
        self._hasher.start()
        return self

    def write(self, data: bytes | memoryview) -> None:
        """Writes bytes: a `bytes`, or a flat memory of bytes, which is not copied."""
        whole = memoryview(data)
        for start in range(0, len(whole), _PIECE):
            piece = whole[start : start + _PIECE]
            self._pieces.put(piece)
            files.write(self._file, piece)
            before, self._size = self._size, self._size + len(piece)
            if before // _SYNC_EVERY < self._size // _SYNC_EVERY:
                files.sync(self._file)  # the disk works while the next sums are made

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        try:
            if kind is None:
                files.sync(self._file)
        finally:
            self._pieces.put(None)
            self._hasher.join()
            files.close(self._file)
        if kind is None:
            self.entry = Entry(self._size, self._sum.hexdigest())

    def _hash(self) -> None:
        while (piece := self._pieces.get()) is not None:
            self._sum.update(piece)
