"""Shows how far a run is: a bar in a terminal or a notebook, lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from time import perf_counter
from typing import Any, TextIO

from framework.engine.engine import Engine
from framework.handlers.bar import Bar, in_notebook, unshared
from framework.metrics.recorder import Recorder

BAR_INTERVAL_S = 0.1
LINE_INTERVAL_S = 30.0


class Progress:
    """Shows a line at the end of each epoch; where the output is a terminal or a notebook, a bar while the epoch runs.

    Updated by time, not by step, and from numbers that were read already: it never makes a device wait. The line has what handlers
    registered before it have logged; it repeats no value of an epoch before.

    Args:
        recorder: whose newest means are shown; None shows no numbers while an epoch runs.
        stream: where to write; the standard output by default.
        history: rows with "epoch" and what was measured then, as they are added; it tells which values are of an epoch before.

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

    def __init__(
        self, recorder: Recorder | None = None, stream: TextIO | None = None, *, history: Sequence[dict[str, Any]] = ()
    ) -> None:
        self._recorder = recorder
        self._history = history
        self._rows = 0  # of the history that were looked at
        self._measured_in: dict[str, int] = {}  # the last epoch that has measured it
        self._stream = stream
        self._bar: Bar | None = None
        self._evaluation_bar: Bar | None = None
        self._next = 0.0
        self._title = ""
        self._epoch_start = 0
        self._began: float | None = None  # when the epoch did; None between epochs

    def on_epoch_started(self, engine: Engine) -> None:
        """Begins a bar."""
        self.begin(engine, engine.state.iteration)

    def begin(self, engine: Engine, epoch_start: int) -> None:
        """Begins to show an epoch, which may be under way: its iterations count from `epoch_start`."""
        state = engine.state
        self._epoch_start, self._title = epoch_start, self._epoch(engine)
        self._began = perf_counter()
        self._next = self._began + LINE_INTERVAL_S
        if self._has_bar():
            self._bar = Bar(self._title, state.epoch_length, self._out(), initial=state.iteration - epoch_start)
            self._next = perf_counter() + BAR_INTERVAL_S

    def on_iteration_completed(self, engine: Engine) -> None:
        """Moves the bar on, if some time has passed."""
        if perf_counter() >= self._next:
            self._show(engine)

    def on_evaluation_started(self) -> None:
        """Waits before an evaluation outside an epoch is shown; inside one the wait goes on."""
        if self._began is None:
            self._next = perf_counter() + (BAR_INTERVAL_S if self._has_bar() else LINE_INTERVAL_S)

    def on_evaluation_iteration_completed(self, engine: Engine) -> None:
        """Shows how far an evaluation is, if some time has passed."""
        if perf_counter() >= self._next:
            self._show_evaluation(engine)

    def on_evaluation_completed(self) -> None:
        """Goes back to the bar of the epoch."""
        self._close_evaluation()

    def on_epoch_completed(self, engine: Engine) -> None:
        """Ends the bar and writes the line."""
        self._finish(engine)

    def on_completed(self, engine: Engine) -> None:
        """Writes the line of an epoch inside which the run has ended."""
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
            self._bar.close()
            self._bar = None
        self._line(f"{self._epoch(engine)}  {state.iteration} iterations  {_numbers(self._of_epoch(engine))}{seconds:.1f} s")

    def _show(self, engine: Engine) -> None:
        latest = _numbers(self._recorder.latest if self._recorder is not None else {}).rstrip()
        done = engine.state.iteration - self._epoch_start
        if self._bar is not None:
            self._bar.draw(done, latest)
            self._next = perf_counter() + BAR_INTERVAL_S
        else:
            self._line(f"{self._title}  {_count(done, engine)}  {latest}".rstrip())
            self._next = perf_counter() + LINE_INTERVAL_S

    def _of_epoch(self, engine: Engine) -> dict[str, Any]:
        """Returns the metrics without those that were last measured in an epoch before."""
        for row in self._history[self._rows :]:
            self._measured_in.update(dict.fromkeys(row, row["epoch"]))
        self._rows, epoch = len(self._history), engine.state.epoch
        return {name: value for name, value in engine.state.metrics.items() if self._measured_in.get(name, epoch) == epoch}

    def _show_evaluation(self, engine: Engine) -> None:
        state = engine.state
        title = f"{self._title} {state.stage}".strip()
        if self._has_bar():
            if self._evaluation_bar is None:
                self._evaluation_bar = Bar(title, state.epoch_length, self._out(), initial=state.iteration, over=self._bar)
            self._evaluation_bar.draw(state.iteration, "")
            self._next = perf_counter() + BAR_INTERVAL_S
        else:
            self._line(f"{title}  {_count(state.iteration, engine)}")
            self._next = perf_counter() + LINE_INTERVAL_S

    def _close_evaluation(self) -> None:
        if self._evaluation_bar is not None:
            self._evaluation_bar.close()
            self._evaluation_bar = None

    def _close(self) -> None:
        self._close_evaluation()
        if self._bar is not None:
            self._bar.close(leave=True)
            self._bar = None

    def _line(self, text: str) -> None:
        print(text, file=self._out(), flush=True)

    def _out(self) -> TextIO:
        return unshared(self._stream or sys.stdout)  # looked up late: a notebook or a test may replace it

    def _has_bar(self) -> bool:
        return self._out().isatty() or in_notebook()

    @staticmethod
    def _epoch(engine: Engine) -> str:
        of = engine.state.max_epochs
        return f"epoch {engine.state.epoch}" + ("" if of is None else f"/{of}")


def _count(done: int, engine: Engine) -> str:
    length = engine.state.epoch_length
    return f"{done}" if length is None else f"{done}/{length}"


def _numbers(metrics: dict[str, Any]) -> str:
    shown = (f"{name} {value:.4g}" for name, value in metrics.items() if isinstance(value, int | float))
    return "".join(f"{number}  " for number in shown)
