"""Between two steps: where a run may stop or be saved. Asked for at any time, done only where no window of gradients is open."""

from __future__ import annotations

from math import inf
from time import perf_counter
from types import FrameType
from typing import Any

from framework.distributed.group import Group
from framework.engine.engine import Engine
from framework.engine.events import Events
from framework.engine.loop import Paused
from framework.module.place import doing
from framework.module.ranks.agreed import Agreed
from framework.module.resuming.saver import Saver
from framework.module.run import Run
from framework.module.settings import FitSettings
from framework.module.stopping.fetch import inside_fetch
from framework.module.stopping.signals import StopSignals
from framework.module.stopping.watchdog import Watchdog

_DROPPABLE = (Events.STARTED, Events.ITERATION_COMPLETED, Events.EPOCH_COMPLETED)


class Boundary:
    """Looks after each step whether the run is to stop, or to be saved.

    Args:
        run: the run.
        signals: those that ask for its end.
        saver: writes checkpoints; None where there is no folder.
        settings: with the limits of time.
        group: the processes that stop and save together; None for one.

    Attributes:
        watchdog: is told of each step, of training or evaluation; None for none.
        safe_fetch: a fetch may be broken off: its batch comes again when the run goes on.
    """

    watchdog: Watchdog | None = None
    safe_fetch = True

    def __init__(
        self, run: Run, signals: StopSignals, saver: Saver | None, settings: FitSettings, group: Group | None = None
    ) -> None:
        self._run = run
        self._signals = signals
        self._saver = saver
        self._max_time_s = settings.max_time_s
        self._deadline = inf if settings.max_time_s is None else perf_counter() + settings.max_time_s
        self._engine: Engine | None = None  # of the evaluation under way
        self._droppable = False
        self._put_off = False  # an interruption that was asked for inside a window, or between fetch and step
        self._agreed: Agreed | None = None
        if group is not None:
            self._agreed = agreed = Agreed(group, self._wishes, signals)
            if saver is not None:
                saver.time_is_up = lambda: agreed.save

    def at_iteration(self, engine: Engine) -> None:
        """Saves where that is due, and stops where that was asked for: after all other handlers of an iteration."""
        if self.watchdog is not None:
            self.watchdog.beat()
        if self._agreed is not None:
            self._agreed.step()
        if self._run.parts.window_is_open:
            self.put_off(engine)
            return
        if self._put_off:
            self._put_off = False
            engine.interrupt()
        if self._signals.asked is None and self._deadline == inf and self._saver is None:
            return  # the usual case
        self._save_or_stop(engine, Events.ITERATION_COMPLETED)

    def put_off(self, engine: Engine) -> None:
        """Lets an interruption wait for the end of the step."""
        self._put_off, engine.should_interrupt = self._put_off or engine.should_interrupt, False

    def at_epoch_end(self, engine: Engine) -> None:
        """Saves where that is due, and stops where that was asked for: after all other handlers of an epoch's end."""
        if self._put_off:  # to the end of a window that the end of the data has cut short
            self._put_off = False
            engine.interrupt()
        if self._agreed is not None:
            self._agreed.ask()
        self._save_or_stop(engine, Events.EPOCH_COMPLETED)

    def _save_or_stop(self, engine: Engine, after: str) -> None:
        if self._saver is not None and not self.asked and self._saver.is_due():
            self._saver.save(engine, after)
            if self._agreed is not None:
                self._agreed.save = False  # it is written
        if self.asked:  # also where it was asked for in the save
            engine.interrupt()

    @property
    def asked(self) -> bool:
        """Whether the run is to stop."""
        return self._is_asked() if self._agreed is None else self._agreed.stop

    def _is_asked(self) -> bool:
        return self._signals.asked is not None or perf_counter() >= self._deadline

    def _wishes(self) -> tuple[bool, bool]:
        return self._is_asked(), self._saver is not None and self._saver.is_time()

    def before_evaluation(self, engine: Engine) -> None:
        """Notes whether the evaluation that begins can be given up: where the event it hangs on can be gone through again."""
        self._droppable = engine.last_event_name in _DROPPABLE and not self._run.parts.window_is_open
        if self._saver is not None and self._droppable and engine.last_event_name != Events.EPOCH_COMPLETED:
            self._saver.remember(engine, engine.last_event_name)

    def begin_evaluation(self, engine: Engine) -> None:
        """Notes the evaluation that begins."""
        self._engine = engine
        if self._agreed is not None:
            self._agreed.begin_pace()

    def in_evaluation(self, engine: Engine) -> None:
        """Gives the evaluation up where the run is to stop."""
        if self.watchdog is not None:
            self.watchdog.beat()
        if self._agreed is not None:
            self._agreed.step()
        if self.to_drop():
            engine.interrupt()

    def to_drop(self) -> bool:
        """Tells whether the evaluation under way is to be given up."""
        return self._droppable and self.asked

    def end_evaluation(self) -> None:
        """Notes that the evaluation is over, or given up."""
        self._engine = None
        if self._agreed is not None:
            self._agreed.begin_pace()

    def on_signal(self, frame: FrameType | None, engine: Engine) -> None:
        """Leaves a wait for a batch at once, in the handler of a signal.

        Args:
            frame: that the signal has interrupted.
            engine: of the training.

        Raises:
            Paused: the loop takes it.
        """
        evaluation = self._engine
        if evaluation is not None:
            waiting = evaluation if self._droppable and inside_fetch(frame, evaluation) else None
        else:
            closed = not self._run.parts.window_is_open
            waiting = engine if self.safe_fetch and closed and inside_fetch(frame, engine) else None
        if waiting is not None and waiting._position is not None:
            waiting._position.pause(Events.GET_BATCH_STARTED)
            raise Paused

    @property
    def evaluates(self) -> bool:
        """Whether an evaluation is under way."""
        return self._engine is not None

    def place(self, engine: Engine) -> str:
        """Says where the run is, for a watchdog."""
        epoch, iteration = f"epoch {engine.state.epoch}", engine.state.iteration
        if self._engine is not None:
            return f"{epoch}, in the evaluation after iteration {iteration}, {doing(self._engine)}"
        return f"{epoch}, {doing(engine)}"

    def reason(self, engine: Engine, *, saved: bool) -> str | None:
        """Returns why the run was stopped from here, and where; None where it was not. `saved` where it can go on."""
        if (asked := self._signals.asked) is not None:
            name = "SIGINT (Ctrl-C)" if asked.name == "SIGINT" else asked.name
            goes_on = "; it is saved and goes on with the same command" if saved else ""
            return f"{name} ended the run in epoch {engine.state.epoch}, iteration {engine.state.iteration}{goes_on}."
        return f"max_time_s={self._max_time_s:g} was reached." if self.asked and self._max_time_s is not None else None


def watch(evaluation: Any, boundary: Boundary) -> None:
    """Lets an evaluation be given up where the run is to stop."""
    evaluation.to_drop = boundary.to_drop
    add = evaluation.engine.add_event_handler
    add(Events.STARTED, boundary.begin_evaluation)
    add(Events.ITERATION_COMPLETED, boundary.in_evaluation)
    add(Events.COMPLETED | Events.INTERRUPT, boundary.end_evaluation)
