"""A bar at the foot of a terminal, or in a notebook. It makes room for what is printed, and comes back below."""

from __future__ import annotations

import os
import sys
import warnings
from typing import Any, TextIO, cast

_BAR = "{desc} {percentage:3.0f}%|{bar:10}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}{postfix}]"
_WIDGET = _BAR.replace("{bar:10}", "{bar}")  # in a notebook the bar is a widget of its own
_COUNT = "{desc} {n_fmt} [{elapsed}, {rate_fmt}{postfix}]"
_STREAMS = ("stdout", "stderr")


class Bar:
    """A bar of tqdm that shares its terminal: what is printed while it is there stands above it, line by line.

    Args:
        title: stands before it.
        total: what it counts to; None where that is unknown.
        out: where it is drawn.
        initial: the count to begin with.
        over: a bar whose place it takes while it is there.

    Example:
        >>> import io
        >>> from framework.handlers.bar import Bar
        >>> bar = Bar("epoch 1", 8, io.StringIO())
        >>> bar.draw(2, "loss 0.5")
        >>> bar.close()
    """

    def __init__(self, title: str, total: int | None, out: TextIO, *, initial: int = 0, over: Bar | None = None) -> None:
        tqdm = _import_tqdm()
        kind = type("tqdm", (tqdm,), {"monitor_interval": 0})  # which would start a thread, before workers are forked
        widget = any(base.__module__ == "tqdm.notebook" for base in kind.__mro__)
        if over is not None:
            over.make_room("")
        self._bar: Any = kind(
            total=total,
            desc=title,
            file=out,
            initial=initial,
            bar_format=_COUNT if total is None else _WIDGET if widget else _BAR,
            mininterval=0,
            miniters=1,
            dynamic_ncols=True,
            leave=False,
            position=None if over is None else abs(over._bar.pos),
        )
        self._pid = os.getpid()
        self._shown = True
        self._inside_line = False  # what was printed last did not end its line
        self._shared: dict[str, _Shared] = {}
        for name in () if widget else _STREAMS:
            stream = getattr(sys, name)
            if stream.isatty() or in_notebook():
                self._shared[name] = _Shared(stream, self)
                setattr(sys, name, self._shared[name])

    def draw(self, count: int, numbers: str) -> None:
        """Draws it anew, below what was printed."""
        self._end_line()
        self._shown = True
        self._bar.set_postfix_str(numbers, refresh=False)
        if not self._bar.update(count - self._bar.n):
            self._bar.refresh()

    def make_room(self, text: str) -> None:
        """Takes it away until it is drawn again, since `text` is to be written."""
        if os.getpid() != self._pid:  # in a worker, which may be killed while it holds the lock of the bar
            return
        if self._shown:
            self._shown = False
            self._bar.clear()
        if text:
            self._inside_line = not text.endswith("\n")

    def close(self, *, leave: bool = False) -> None:
        """Takes it away for good, or leaves it as it is, as a line."""
        for name, shared in self._shared.items():
            if getattr(sys, name) is shared:  # else someone has put another one in place since
                setattr(sys, name, shared.stream)
        self._end_line()
        self._bar.leave = leave
        if not leave:
            self._bar.total = self._bar.n  # else a notebook keeps it, in red
        self._bar.close()

    def _end_line(self) -> None:
        if self._inside_line:
            self._inside_line = False
            self._bar.fp.write("\n")


def _import_tqdm() -> Any:
    from tqdm import TqdmWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TqdmWarning)  # that a notebook has no widgets: the bar is drawn as text then
        from tqdm.auto import tqdm
    return tqdm


class _Shared:
    """Stands for a stream: before something is written there, the bar makes room."""

    def __init__(self, stream: TextIO, bar: Bar) -> None:
        self.stream = stream
        self._bar = bar

    def write(self, text: str) -> int:
        self._bar.make_room(text)
        return self.stream.write(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def unshared(stream: TextIO) -> TextIO:
    """Returns the stream itself, where bars share it."""
    shared: Any = stream
    while isinstance(shared, _Shared):
        shared = shared.stream
    return cast(TextIO, shared)


def in_notebook() -> bool:
    """Tells whether this runs in the kernel of a notebook.

    Example:
        >>> from framework.handlers.bar import in_notebook
        >>> in_notebook()
        False
    """
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return "IPKernelApp" in getattr(shell, "config", ())
