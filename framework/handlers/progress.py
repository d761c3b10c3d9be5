"""Shows how far a run is: a bar in a terminal or a notebook, lines elsewhere."""

from __future__ import annotations

import sys
from time import perf_counter
from typing import Any, TextIO

from framework.engine.engine import Engine
from framework.metrics.recorder import Recorder

BAR_INTERVAL_S = 0.1
LINE_INTERVAL_S = 30.0
_BAR = "{desc} {percentage:3.0f}%|{bar:20}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}{postfix}]"
_COUNT = "{desc} {n_fmt} [{elapsed}, {rate_fmt}{postfix}]"


class Progress:
    """Shows one bar an epoch, or one line an epoch where the output is no terminal.

    Updated by time, not by step, and from numbers that were read already: it never makes a device wait.

    Args:
        recorder: whose newest means are shown; None shows no numbers while an epoch runs.
        stream: where to write; the standard output by default.

    Example:
        >>> import sys
        >>> from framework import Engine, Progress
        >>> from framework.module.hooks import register_hooks
        >>> engine = Engine(lambda engine, batch: None)
        >>> _ = register_hooks(engine, Progress(stream=sys.stdout))
        >>> _ = engine.run(range(3), max_epochs=2)
        epoch 1/2  3 iterations  ...s
        epoch 2/2  6 iterations  ...s
    """

    def __init__(self, recorder: Recorder | None = None, stream: TextIO | None = None) -> None:
        self._recorder = recorder
        self._stream = stream
        self._bar: Any = None
        self._next = 0.0
        self._epoch_start = 0
        self._began: float | None = None  # when the epoch did; None between epochs

    def on_epoch_started(self, engine: Engine) -> None:
        """Begins a bar."""
        self.begin(engine, engine.state.iteration)

    def begin(self, engine: Engine, epoch_start: int) -> None:
        """Begins to show an epoch, which may be under way: its iterations count from `epoch_start`."""
        self._epoch_start = epoch_start
        self._began = perf_counter()
        self._next = self._began + LINE_INTERVAL_S
        if self._is_terminal():
            from tqdm.auto import tqdm

            total = engine.state.epoch_length
            self._bar = tqdm(
                total=total, desc=self._epoch(engine), file=self._out(), bar_format=_COUNT if total is None else _BAR, mininterval=0
            )
            self._next = perf_counter() + BAR_INTERVAL_S

    def on_iteration_completed(self, engine: Engine) -> None:
        """Moves the bar on, if some time has passed."""
        if perf_counter() >= self._next:
            self._show(engine)

    def on_epoch_completed(self, engine: Engine) -> None:
        """Ends the bar, or writes a line."""
        self._finish(engine)

    def on_completed(self, engine: Engine) -> None:
        """Ends the bar of a run that ended inside an epoch."""
        self._finish(engine)

    def on_interrupt(self) -> None:
        """Leaves the bar as it is."""
        self._close()

    def on_closed(self) -> None:
        """Leaves the bar as it is."""
        # not on_exception_raised: on an engine of one's own a handler of it takes the error
        self._close()

    def _finish(self, engine: Engine) -> None:
        if self._began is None:
            return
        state, seconds = engine.state, perf_counter() - self._began
        self._began = None
        if self._bar is not None:
            self._draw(engine, state.metrics)
            self._close()
        else:
            self._line(f"{self._epoch(engine)}  {state.iteration} iterations  {_numbers(state.metrics)}{seconds:.1f} s")

    def _show(self, engine: Engine) -> None:
        latest = self._recorder.latest if self._recorder is not None else {}
        if self._bar is not None:
            self._draw(engine, latest)
            self._next = perf_counter() + BAR_INTERVAL_S
        else:
            state = engine.state
            of = "" if state.epoch_length is None else f"/{state.epoch_length}"
            self._line(f"{self._epoch(engine)}  {state.iteration - self._epoch_start}{of}  {_numbers(latest)}".rstrip())
            self._next = perf_counter() + LINE_INTERVAL_S

    def _draw(self, engine: Engine, metrics: dict[str, Any]) -> None:
        self._bar.set_postfix_str(_numbers(metrics).rstrip(), refresh=False)
        self._bar.update(engine.state.iteration - self._epoch_start - self._bar.n)
        self._bar.refresh()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _line(self, text: str) -> None:
        print(text, file=self._out(), flush=True)

    def _out(self) -> TextIO:
        return self._stream or sys.stdout  # looked up late: a notebook or a test may replace it

    def _is_terminal(self) -> bool:
        return self._out().isatty() or "ipykernel" in sys.modules

    @staticmethod
    def _epoch(engine: Engine) -> str:
        of = engine.state.max_epochs
        return f"epoch {engine.state.epoch}" + ("" if of is None else f"/{of}")


def _numbers(metrics: dict[str, Any]) -> str:
    shown = (f"{name} {value:.4g}" for name, value in metrics.items() if isinstance(value, int | float))
    return "".join(f"{number}  " for number in shown)
