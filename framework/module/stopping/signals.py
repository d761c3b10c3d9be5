"""Ctrl-C, SIGTERM and SIGUSR1 during a run: the first one asks for its end, the second one is the end."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from time import perf_counter
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from framework.module.result import FitResult

_STDERR = 2
ONE_REQUEST_S = 2.0


class Interrupted(SystemExit):
    """A signal ended the run; uncaught, it ends the process without a traceback.

    Args:
        asked: the signal.
        result: what `fit` would have returned.

    Attributes:
        code: the exit code that shells know: 128 + the number of the signal, so 130 for Ctrl-C and 143 for SIGTERM.
        asked, result: as given.

    Example:
        >>> from signal import SIGTERM
        >>> from framework import FitResult, State
        >>> from framework.module.stopping.signals import Interrupted
        >>> try:
        ...     raise Interrupted(SIGTERM, FitResult("interrupted", "It stopped in iteration 7.", State(), {}, [], {}))
        ... except Interrupted as end:
        ...     print(end.code, end)
        143 It stopped in iteration 7.
    """

    def __init__(self, asked: signal.Signals, result: FitResult) -> None:
        super().__init__(128 + asked)
        self.args = (asked, result)  # what a copy is made of
        self.asked = asked
        self.result = result

    def __str__(self) -> str:
        if self.result.status == "interrupted":
            return self.result.reason
        return f"{self.asked.name} came when the run was over: {self.result.reason}"


class StopSignals:
    """Takes SIGINT and SIGTERM while the block runs: the first signal is noted, a second one of any kind stops at once.

    Then the handlers from before are put back and KeyboardInterrupt is raised, or SystemExit(128 + number). They are also put back
    where the block ends. A signal that is ignored stays ignored, one that C code handles is left to it, and a process forked inside
    the block gets its signals as if there were no block. Outside the main thread signals are left alone, which is said once.

    Args:
        on_first: called with the interrupted frame when the first signal comes, wherever the main thread is; it may raise.
        requeue: take SIGUSR1 as well.

    Attributes:
        asked: the first signal that came.
        on_first: as given; it may be set later.
        several_come: one request may come as several signals at once, as torchrun hands on what its processes were sent as well;
            what comes within `ONE_REQUEST_S` seconds of the first is no second one.
        told: say on standard error that a signal has come.

    Example:
        >>> import signal
        >>> from framework.module.stopping.signals import StopSignals
        >>> with StopSignals() as signals:
        ...     signal.raise_signal(signal.SIGTERM)
        ...     print("still here")
        still here
        >>> signals.asked.name
        'SIGTERM'
    """

    def __init__(self, on_first: Callable[[FrameType | None], None] | None = None, *, requeue: bool = False) -> None:
        self.asked: signal.Signals | None = None
        self.on_first = on_first
        names = ("SIGINT", "SIGTERM", "SIGUSR1") if requeue else ("SIGINT", "SIGTERM")
        self.several_come = False
        self.told = True
        self._came_s = 0.0
        self._taken = [signal.Signals[name] for name in names if hasattr(signal, name)]
        self._old: dict[int, Any] = {}
        self._next: Callable[[int, FrameType | None], Any] | None = None
        self._pid = os.getpid()

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is not threading.main_thread():
            _tell_left_alone()
            return self
        self._pid = os.getpid()
        for number in self._taken:
            old = signal.getsignal(number)
            if old is not None and old != signal.SIG_IGN:
                self._old[number] = old
                signal.signal(number, self._handle)
        return self

    def __exit__(self, *exception: object) -> None:
        self._restore()

    def chain(self) -> None:
        """Gives the signal, if one came, to the Python function that handled it before, once. Call it when the run is saved."""
        self._restore()
        handler, self._next = self._next, None
        if handler is not None and self.asked is not None:
            handler(int(self.asked), None)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._pid:  # forked by the step or a handler: Process.terminate() must end it
            self._restore()
            signal.raise_signal(number)
            return
        if self.asked is not None:
            if self.several_come and perf_counter() - self._came_s < ONE_REQUEST_S:
                return
            self._restore()
            raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)
        self.asked, self._came_s = signal.Signals(number), perf_counter()
        old = self._old.get(number)
        if callable(old) and old is not signal.default_int_handler:
            self._next = old
        if not self.told:
            pass
        elif number == signal.SIGINT:
            tell("\nfinishing the step; press again to stop now\n")
        else:
            tell(f"\n{self.asked.name}: finishing the step; a second signal stops now\n")
        if self.on_first is not None:
            self.on_first(frame)

    def _restore(self) -> None:
        while self._old:
            number, old = self._old.popitem()
            if signal.getsignal(number) == self._handle:  # else someone has put another one in place since
                signal.signal(number, old)


def tell(text: str) -> None:
    """Writes to stderr past Python's buffers, whose locks the interrupted code or a thread that hangs may hold."""
    with suppress(OSError):  # a terminal that is gone must not end the run that should be saved
        os.write(_STDERR, text.encode())


@cache
def _tell_left_alone() -> None:
    tell(
        "fit runs outside the main thread, the only one in which Python handles signals: Ctrl-C and SIGTERM do not save the run.\n"
    )


def is_interactive() -> bool:
    """Tells whether someone types in the program's lines: at Python's prompt, in IPython or in a notebook.

    Example:
        >>> from framework.module.stopping.signals import is_interactive
        >>> is_interactive()
        False
    """
    return hasattr(sys, "ps1") or bool(sys.flags.interactive)  # IPython sets ps1 too, also in the kernel of a notebook
