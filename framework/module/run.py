"""One run of `fit`: what its own handlers do at each event."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from time import perf_counter, time
from typing import TYPE_CHECKING, Any

from framework.engine.engine import Engine
from framework.engine.events import Events
from framework.engine.progress import pause_before
from framework.metrics.recorder import Point, Recorder
from framework.module.adapter import Parts
from framework.module.checks.data_end import no_batch, too_few
from framework.module.data_source import Limited, given_data, is_one_shot
from framework.module.evaluation import Evaluation, EvaluationDropped
from framework.module.loggers import Loggers
from framework.module.loss import refuse_non_finite
from framework.module.ranks.curves import AnyCurves
from framework.module.result import FitResult
from framework.module.schedules import Schedules
from framework.module.settings import FitSettings
from framework.module.step_events import StepEvents

if TYPE_CHECKING:
    from framework.module.train_module import TrainModule


class Run:
    """The handlers of one run and what they keep. They receive the engine at each call and hold none.

    Attributes:
        recorder: what steps and `log` record.
        evaluations: each with its data and its limit of batches.
        data: what the engine iterates over.
        parts: those that train.
        history: one row an epoch or validation.
        epoch_length: batches an epoch, None where the data does not know.
        curves: the file that points and rows are read from when the run goes on, None for none.
        sinks: what points and rows are written to.
        epoch_start: the iteration after which the epoch has begun.
        summarised_at: the iteration at which an epoch was summarised last.
        stop: why the run was interrupted, where nobody called `interrupt`.
        dropped: it was interrupted in an evaluation, which was given up.
        restarting: the run goes on in a new process and has not yet begun to.
    """

    parts: Parts
    curves: AnyCurves | None = None
    sinks: Sequence[AnyCurves | Loggers] = ()
    stop: str | None = None
    dropped = False
    restarting = False

    def __init__(
        self,
        module: TrainModule,
        recorder: Recorder,
        schedules: Schedules,
        evaluations: Sequence[tuple[Evaluation, Iterable[Any], int | None]],
        settings: FitSettings,
        data: Iterable[Any] | None,
        epoch_length: int | None,
    ) -> None:
        self.recorder = recorder
        self.evaluations = evaluations
        self.history: list[dict[str, Any]] = []
        self.epoch_length = epoch_length
        self._module = module
        self._schedules = schedules
        self._settings = settings
        self.one_pass = settings.epoch_length is None  # an epoch is one pass over the data, however long
        limited = data is not None and settings.limit_train_batches is not None
        self.data = Limited(data, settings.limit_train_batches) if limited else data  # type: ignore[arg-type]
        self.on_validate: Callable[[Engine], None] | None = None
        self._evaluated_at: int | None = None  # iterations, to do nothing twice
        self._results: dict[str, Any] = {}
        self.summarised_at = 0
        self._epoch_began = perf_counter()
        self.epoch_start = 0  # iterations
        self._interrupted = False
        self._ended: tuple[str, str] | None = None  # status and reason, as they are before on_completed
        self._row: dict[str, Any] | None = None

    def begin_epoch(self, engine: Engine) -> None:
        """Puts the module into train mode and starts a pass over the data."""
        self._module.train()
        state = engine.state
        if state.epoch > 1:  # after an epoch that was broken off without EPOCH_COMPLETED
            self._read(state.iteration, state.epoch - 1)
            self.recorder.clear()
        self._epoch_began, self.epoch_start = perf_counter(), state.iteration
        if self.one_pass and self.data is not None:
            state.epoch_length = self.epoch_length
            engine.set_data(self.data)
        self.begin_window(engine)

    def read_values(self, engine: Engine) -> None:
        """Adds a point to each curve; what was recorded is read all at once, and a loss that is not finite is refused."""
        self._read(engine.state.iteration, engine.state.epoch)

    def check_values(self, engine: Engine) -> None:
        """Reads what was recorded and refuses a loss that is not finite; the curves get no point."""
        self._check(engine.state.epoch)

    def close_window(self, engine: Engine) -> None:
        """Steps with the gradients of a window that was cut short by the end of the data or of the run."""
        if self.parts.window is not None and self.parts.window_is_open:
            self.parts.window.taken = 0
            event = engine.last_event_name
            self.parts.step.finish_window()
            engine.last_event_name = event  # the events of a step are over

    def summarise_epoch(self, engine: Engine) -> None:
        """Writes the means of the epoch into `state.metrics` and opens its row of the history."""
        self.read_values(engine)
        engine.state.metrics.update(self.recorder.means())
        self.summarised_at = engine.state.iteration
        self._open_row(engine)

    def step_epoch_schedules(self) -> None:
        """Steps the schedules that count epochs, unless a gradient scaler has skipped every step of their optimizer so far."""
        self._schedules.step_epoch(self.parts.step.counter.steps)

    def validate(self, engine: Engine) -> None:
        """Evaluates, once an iteration however many events ask, and steps the schedules that wait for one of the results."""
        if self.restarting:
            return  # STARTED fires in each process; its evaluation was made in the first
        if self._evaluated_at == engine.state.iteration:
            if self._row is not None:
                self._row.update(self._results)
            return
        if self.on_validate is not None:
            self.on_validate(engine)
        event = engine.last_event_name or ""
        self.read_values(engine)
        results: dict[str, Any] = {}
        try:
            for evaluation, data, limit in self.evaluations:
                results.update(evaluation.run(data, limit))
        except EvaluationDropped:
            self.dropped = True
            pause_before(engine, event)
        engine.state.metrics.update(results)
        self._evaluated_at, self._results = engine.state.iteration, results
        if self._row is None:  # in the middle of an epoch: a row of its own
            self._open_row(engine)
            self._close_row(results)
        else:
            self._row.update(results)
        self._schedules.step_monitored(results)
        engine.fire_event(StepEvents.EVALUATED)
        engine.last_event_name = event

    def summarise_rest(self, engine: Engine) -> None:
        """Summarises and evaluates the rest of a run that ended inside an epoch."""
        self._ended = self._ending(engine)
        if engine.state.iteration > self.summarised_at:
            self.summarise_epoch(engine)
            if self.evaluations:
                self.validate(engine)

    def close_row(self, engine: Engine) -> None:
        """Completes the row of the epoch with what hooks logged at its end, and starts the means anew."""
        self._read(engine.state.iteration, engine.state.epoch)
        means = self.recorder.means()
        engine.state.metrics.update(means)
        self.recorder.clear()
        if self._row is not None:
            self._close_row(means)
        if self.one_pass:
            state, length = engine.state, self.epoch_length or 0
            state.epoch_length = None if state.iteration > state.epoch * length else length  # unknown, or not that of each pass

    def go_on_without_limit(self, engine: Engine) -> None:
        """Takes away the limit that an engine has to be given, where time alone ends the run."""
        engine.state.max_epochs = None

    def stop_at_max_iters(self, engine: Engine) -> None:
        """Ends the run at `max_iters`, where nobody can tell whether `max_epochs` comes before."""
        engine.terminate()

    def stop_without_data(self, engine: Engine) -> None:
        """Ends the run after an epoch of a given length that the data could not fill, since it cannot fill the next one either."""
        state, settings = engine.state, self._settings
        if settings.epoch_length is None or engine.should_terminate_single_epoch:
            return
        if state.iteration - self.epoch_start < settings.epoch_length:
            if state.dataloader is self.data and not is_one_shot(given_data(self.data)):
                raise no_batch(f"A new pass in epoch {state.epoch} over train_data", self.data)
            by_epochs = None if settings.max_epochs is None else settings.max_epochs * settings.epoch_length
            due = min((limit for limit in (settings.max_iters, by_epochs) if limit is not None), default=None)
            of = "" if due is None else f" of {due}"
            engine.terminate(reason=f"The data ended after {state.iteration}{of} iterations.")

    def refuse_short_pass(self, engine: Engine) -> None:
        """Refuses data that gives fewer batches than it says: an epoch is one pass over it."""
        given, said = engine.state.iteration - self.epoch_start, engine.state.epoch_length
        if given == 0 or said is None:
            raise no_batch(f"In epoch {engine.state.epoch} train_data", self.data)
        remedy = f"; or give epoch_length={given}, which starts the data anew where it ends"
        raise too_few("train_data", said, given, remedy)

    def go_on(self, engine: Engine) -> None:
        """Notes that the run, in its new process, is where it was; its end may be another one."""
        self.restarting = False
        self.begin_window(engine)

    def skip_taken(self, saved: Mapping[str, Any]) -> None:
        """Counts the batches that the process before has taken of this pass in the limit of batches."""
        if isinstance(self.data, Limited):
            progress = saved["progress"]
            inside = progress["after"] not in (Events.EPOCH_COMPLETED, Events.TERMINATE_SINGLE_EPOCH)
            self.data.taken = progress["iteration"] - progress["epoch_start"] if inside else 0

    def note_interrupt(self) -> None:
        """Remembers that the run was interrupted."""
        self._interrupted = True

    def result(self, engine: Engine) -> FitResult:
        """Returns how the run ended, without holding the engine, the data or a batch."""
        state = engine.state
        status, reason = self._ended or self._ending(engine)
        state.batch = state.output = state.dataloader = state.module = state.recorder = None
        return FitResult(status, reason, state, dict(state.metrics), self.history, self.recorder.series)

    def state_dict(self) -> dict[str, Any]:
        """Returns how far the run is, in plain values; the curves are in their file."""
        return {
            "recorder": self.recorder.state_dict(),
            "history": [dict(row) for row in self.history],
            "evaluated_at": self._evaluated_at,
            "results": dict(self._results),
            "summarised_at": self.summarised_at,
            "epoch_start": self.epoch_start,
            "epoch_s": perf_counter() - self._epoch_began,
            "curves": None if self.curves is None else self.curves.position(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes up what `state_dict` returned; the curves are cut back to where they were then."""
        self.recorder.load_state_dict(state["recorder"])
        self.history[:] = state["history"]
        self._evaluated_at, self._results = state["evaluated_at"], state["results"]
        self.summarised_at, self.epoch_start = state["summarised_at"], state["epoch_start"]
        self._epoch_began = perf_counter() - state["epoch_s"]
        if self.curves is not None:
            self.curves.cut(state["curves"])
            series, _ = self.curves.read()
            self.recorder.series.update({name: [Point(*point) for point in points] for name, points in series.items()})

    def begin_window(self, engine: Engine) -> None:
        """Tells the window, where there is one, how many batches are to come in the epoch; None is open."""
        if self.parts.window is None:
            return
        state, max_iters = engine.state, self._settings.max_iters
        epoch_end = None if state.epoch_length is None else self.epoch_start + state.epoch_length
        ends = [end - state.iteration for end in (epoch_end, max_iters) if end is not None]
        self.parts.window.begin_epoch(min(ends, default=None))

    def _read(self, iteration: int, epoch: int) -> None:
        self._check(epoch)
        points = self.recorder.flush(iteration, epoch)
        now = time()
        for sink in self.sinks if points else ():
            sink.points(iteration, epoch, now, points)

    def _check(self, epoch: int) -> None:
        self.parts.step.counter.settle()
        read = self.recorder.read()
        found = [bad for record in self.parts.losses if (bad := record.check(read.get(record.name, ()))) is not None]
        if found:
            first, value, optimizers = min(found)
            refuse_non_finite(value, first, epoch, optimizers)

    def _ending(self, engine: Engine) -> tuple[str, str]:
        state, settings = engine.state, self._settings
        if self._interrupted:
            return "interrupted", self.stop or f"interrupt() was called in iteration {state.iteration}."
        if engine.terminate_reason is not None:
            return "stopped", engine.terminate_reason
        if settings.max_iters is not None and state.iteration >= settings.max_iters:
            return "completed", f"max_iters={settings.max_iters} was reached."
        if engine.should_terminate:
            return "stopped", f"terminate() was called in iteration {state.iteration}."
        return "completed", f"max_epochs={settings.max_epochs} was reached."

    def _open_row(self, engine: Engine) -> None:
        state = engine.state
        time_s = perf_counter() - self._epoch_began
        self._row = {"epoch": state.epoch, "iteration": state.iteration, "time_s": time_s, **self.recorder.means()}

    def _close_row(self, values: dict[str, Any]) -> None:
        assert self._row is not None
        self._row.update(values)
        self.history.append(self._row)
        for sink in self.sinks:
            sink.row(self._row)
        self._row = None
