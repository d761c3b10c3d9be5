"""Batches from worker processes, and a clear word where one of those has died."""

from __future__ import annotations

from collections.abc import Iterator
from multiprocessing.connection import wait
from signal import strsignal
from typing import Any

_DYING_S = 1.0  # a connection may break before the process is seen to have ended


class FromWorkers(Iterator[Any]):
    """The batches of a loader's iterator with workers.

    Torch names a worker that has died, if it finds out before the connection to that worker breaks; else all that comes is an
    EOFError or a ConnectionError. A dataset may raise such errors as well, so they are told apart by the processes.

    Args:
        batches: torch's iterator.

    Raises:
        RuntimeError: from `next`, naming the worker that has died.
    """

    def __init__(self, batches: Any) -> None:
        self._next = batches.__next__
        self._workers = batches._workers

    def __next__(self) -> Any:
        try:
            return self._next()
        except (EOFError, ConnectionError) as error:
            ended = wait([worker.sentinel for worker in self._workers], _DYING_S)
            for worker in self._workers:
                if worker.sentinel in ended:
                    worker.join(_DYING_S)  # it closes its files before its end can be seen
            dead = [worker for worker in self._workers if not worker.is_alive()]
            if not dead:
                raise
            code = dead[0].exitcode or 0
            how = f"is killed by signal: {strsignal(-code)}" if code < 0 else f"exited unexpectedly with code {code}"
            raise RuntimeError(f"DataLoader worker (pid {dead[0].pid}) {how}. Its memory may have run out.") from error
