"""Ends a run that hangs, saying where."""

from __future__ import annotations

import faulthandler
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter, sleep
from typing import Protocol

from framework.module.stopping.signals import tell

EXIT_HUNG = 124
"""The exit code of a process that its watchdog ended: that of `timeout`, the command."""

_STDERR = 2
_REPORT_S = 30.0  # what writing the report may take, where nobody reads stderr for instance
_WORKERS_S = 2.0  # what all workers together have to write their stacks


class Worker(Protocol):
    """A worker process, such as a `multiprocessing.Process`."""

    @property
    def pid(self) -> int | None: ...

    def is_alive(self) -> bool: ...

    def kill(self) -> None: ...


class Watchdog:
    """Ends the process with `EXIT_HUNG` where no beat comes for a time, after writing to stderr what hangs and all stacks.

    Written are the description, the Python stacks of all threads and, by SIGUSR2, those of the workers that registered
    `faulthandler` for it; then the workers are killed. Nothing is saved: the weights may be half-way through a step. The time in
    which the process was stopped (Ctrl-Z, a suspended job) does not count.

    A thread watches, so it sees a main thread that is stuck in a call of C code which has released the GIL, as reads, waits and
    torch's operations have. It can do nothing where the GIL is held.

    Args:
        timeout_s: how long no beat may come, in seconds.
        describe: says where the run is, such as "epoch 1, iteration 7, in the step". Called in the thread that watches.
        workers: returns the worker processes. Called in the thread that watches.
        blame: takes what `describe` says; returns one line that is all to be written, where another process is to blame, and else
            None. Called in the thread that watches. None for a run of one process.

    Attributes:
        last: whatever differs from beat to beat; a loop may write `perf_counter()` here itself instead of calling `beat`.

    Example:
        >>> from framework.module.stopping.watchdog import Watchdog
        >>> with Watchdog(60, lambda: "in the step") as watchdog:
        ...     for batch in range(3):
        ...         watchdog.beat()
        ...     with watchdog.paused():
        ...         pass  # what may take longer
    """

    def __init__(
        self,
        timeout_s: float,
        describe: Callable[[], str],
        workers: Callable[[], Sequence[Worker]] = tuple,
        blame: Callable[[str], str | None] | None = None,
    ) -> None:
        assert timeout_s > 0, timeout_s
        self.last = perf_counter()
        self._timeout_s = timeout_s
        self._interval_s = min(1.0, timeout_s / 10)
        self._describe = describe
        self._workers = workers
        self._blame = blame
        self._pauses = 0
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Watchdog:
        self.beat()
        self._over.clear()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        assert self._thread is not None
        self._over.set()
        self._thread.join()

    def beat(self) -> None:
        """Notes that the run goes on."""
        self.last = perf_counter()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Allows the block any time; for the thread that beats."""
        self._pauses += 1
        try:
            yield
        finally:
            self.beat()
            self._pauses -= 1

    def _watch(self) -> None:
        seen, silent_s, looked = self.last, 0.0, perf_counter()
        while not self._over.wait(self._interval_s):
            now = perf_counter()
            silent_s += min(now - looked, 2 * self._interval_s)  # a longer gap: the whole process was stopped
            looked = now
            if self._pauses or self.last != seen:
                seen, silent_s = self.last, 0.0
            elif silent_s >= self._timeout_s:
                self._end(silent_s)

    def _end(self, silent_s: float) -> None:
        """Reports and ends the process; whatever fails or blocks in the report, the end comes."""
        try:
            anyway = threading.Timer(_REPORT_S, os._exit, (EXIT_HUNG,))
            anyway.daemon = True
            anyway.start()
            if self._others_to_blame():
                return
            tell(
                f"\nThe run hangs: nothing has happened for {silent_s:.3g} s, {self._timeout_s:g} s are allowed. Process "
                f"{os.getpid()} ends with exit code {EXIT_HUNG}. Where a step or a batch may take longer, allow more time.\n"
            )
            for part in (self._tell_place, self._tell_stacks, self._end_workers):
                try:
                    part()
                except Exception as error:  # noqa: BLE001  # it is reported, and the rest of the report matters more
                    tell(f"The watchdog could not find out more: {error!r}\n")
        finally:
            os._exit(EXIT_HUNG)

    def _others_to_blame(self) -> bool:
        """Tells whether this process only waits for another one, which gives the report; then one line here says so."""
        line = None
        try:
            line = None if self._blame is None else self._blame(self._describe())
        except Exception as error:  # noqa: BLE001  # it is reported, and so is the hang
            tell(f"The watchdog could not ask the other processes: {error!r}\n")
        if line is not None:
            tell(f"{line}\n")
        return line is not None

    def _tell_place(self) -> None:
        tell(f"It hangs here: {self._describe()}\n")

    def _tell_stacks(self) -> None:
        tell("The stacks of its threads:\n")
        faulthandler.dump_traceback(_STDERR, all_threads=True)

    def _end_workers(self) -> None:
        live = [worker for worker in self._workers() if worker.is_alive()]
        for worker in live:
            tell(f"\nThe stacks of worker process {worker.pid}, which is killed then:\n")
            if worker.pid is not None and hasattr(signal, "SIGUSR2"):
                os.kill(worker.pid, signal.SIGUSR2)
                sleep(_WORKERS_S / len(live))  # it cannot be asked whether it has finished writing
        for worker in live:
            worker.kill()
