"""The loop of a run: epochs, batches, and every handler in its place, in the order of the engine's tables."""

from __future__ import annotations

from contextlib import ExitStack, nullcontext

from torch import nn

from framework.engine.events import Events
from framework.module.data_source import CalledAnew
from framework.module.drawing.evaluations import EvaluationDrawing
from framework.module.drawing.handlers import Handlers
from framework.module.drawing.names import quoted
from framework.module.drawing.page import Page
from framework.module.drawing.passes import describe_data, draw_batches
from framework.module.drawing.setup import draw_setup
from framework.module.drawing.steps import StepDrawing
from framework.module.drawing.subject import Subject
from framework.module.drawing.verbs import Verbs
from framework.module.fit import nearer_limit
from framework.module.pass_length import PassLength
from framework.module.run import Run
from framework.module.step_events import StepEvents


class LoopDrawing:
    """Draws a run.

    Args:
        subject: what is drawn.
    """

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._page = page = Page()
        counts = {"epoch": "epoch", "iteration": "iteration"}
        self._handlers = handlers = Handlers(page, subject.names, subject.engine, "engine", counts)
        self._step = StepDrawing(page, subject, handlers)
        self._evaluations = EvaluationDrawing(page, subject, handlers)
        self._verbs = Verbs(page, subject.backend, several=subject.has_several)
        self._epochs, self._iterations = nearer_limit(subject.settings, subject.length)
        settings, run = subject.settings, subject.run
        handlers.written.update(
            {
                Run.go_on_without_limit: None,  # its loop has none
                Run.begin_epoch: self._begin_epoch,
                PassLength.take: None,  # `for` takes the data as it is
                Run.validate: self._validate,
                Run.step_epoch_schedules: self._step_schedules if subject.schedules.by_epoch else None,
            }
        )
        if run.parts.window is None:
            handlers.written[Run.close_window] = None
        if settings.epoch_length is None:
            handlers.written[Run.stop_without_data] = None
        validating = [event for event in subject.engine._table.slots for each in handlers.functions(event) if each is Run.validate]
        self._validates_in_place = validating == [Events.EPOCH_COMPLETED] and run.one_pass  # else it shares names with the loop

    def draw(self) -> str:
        """Returns the drawing. To be called once."""
        page, handlers = self._page, self._handlers
        draw_setup(page, self._subject)
        if self._subject.run.evaluations and not self._validates_in_place:
            with page.block("def validate():", "once an iteration, however many events ask"):
                self._evaluations.draw()
        if self._subject.saver is not None and not any(nn.parameter.is_lazy(each) for each in self._subject.module.parameters()):
            page.line("saver.save(engine, None)", f"a checkpoint in {str(self._subject.settings.run_dir)!r}, before the first step")
        self._draw_begin()
        with page.block("try:"):
            with page.block("try:"):
                handlers.draw(Events.STARTED)
                self._draw_epochs()
            limit = "" if self._iterations is None else ", or max_iters inside an epoch"
            with page.block("except Terminated:", f"engine.terminate(){limit}"):
                handlers.draw(Events.TERMINATE)
            handlers.draw(Events.COMPLETED)
        with page.block("except Paused:", "engine.interrupt(), Ctrl-C, SIGTERM, max_time_s"):
            handlers.draw(Events.INTERRUPT)
        if handlers.functions(Events.EXCEPTION_RAISED):
            with page.block("except BaseException as exception:"):
                handlers.draw(Events.EXCEPTION_RAISED)
                page.line("raise")
        if handlers.functions(StepEvents.CLOSED):
            with page.block("finally:"):
                handlers.draw(StepEvents.CLOSED)
        left = list(handlers.left())
        if left:
            page.remark("This loop does not fire these events itself; who does runs their handlers:")
        for sentence in left:
            page.remark(sentence)
        handlers.written.clear()  # they hold each other
        return page.text()

    # The loop

    def _draw_begin(self) -> None:
        page, subject = self._page, self._subject
        if self._iterations is not None:
            page.line("epoch = iteration = 0")
        else:
            page.line("iteration = 0")
        if not subject.run.one_pass and subject.train is not None:
            page.line(f"batches = iter({self._data()})", "carried on from epoch to epoch")

    def _draw_epochs(self) -> None:
        page, handlers = self._page, self._handlers
        settings, header, comment = self._subject.settings, f"for epoch in range(1, {(self._epochs or 0) + 1}):", ""
        if self._iterations is not None:
            header, comment = f"while iteration < {self._iterations}:", "max_iters"
        elif settings.max_epochs is None:
            header, comment = "for epoch in count(1):", f"until max_time_s={settings.max_time_s:g}"
        with page.block(header, comment):
            if self._iterations is not None:
                page.line("epoch += 1")
            handlers.draw(Events.EPOCH_STARTED)
            self._draw_batches()
            handlers.draw(Events.EPOCH_COMPLETED)

    def _draw_batches(self) -> None:
        page, handlers, subject = self._page, self._handlers, self._subject
        ending = handlers.calls(Events.TERMINATE_SINGLE_EPOCH)
        counted = any("iter_counter" in call for call in ending)
        if counted:
            page.line("epoch_start = iteration")
        counts = subject.run.parts.window is not None or (self._iterations is not None and subject.length is not None)
        with (
            page.block("try:") if ending else nullcontext(),
            draw_batches(
                page,
                handlers,
                None if subject.train is None else self._data(),
                subject.length,
                "" if subject.train is None else describe_data(subject.train, subject.length),
                one_pass=subject.run.one_pass,
                counts=counts,
            ),
        ):
            page.line("iteration += 1")
            handlers.draw(Events.ITERATION_STARTED)
            self._step.draw()
            handlers.draw(Events.ITERATION_COMPLETED)
            self._draw_max_iters()
        if ending:
            with page.block("except EpochTerminated:", "engine.terminate_epoch()"):
                if counted:
                    page.line("iter_counter = iteration - epoch_start")
                handlers.draw(Events.TERMINATE_SINGLE_EPOCH)

    def _draw_max_iters(self) -> None:
        if self._iterations is None:
            return
        inside = "" if self._subject.length is None else f" and index + 1 < {self._subject.length}"
        with self._page.block(f"if iteration == {self._iterations}{inside}:", "max_iters, inside an epoch"):
            self._page.line("raise Terminated")

    def _data(self) -> str:
        """Returns the expression of the training data."""
        name = "train_data()" if isinstance(self._subject.train, CalledAnew) else "train_data"
        data, limit = self._verbs.feed(name), self._subject.settings.limit_train_batches
        return data if limit is None else f"islice({data}, {limit})"

    # Handlers of the framework that are plain PyTorch

    def _begin_epoch(self) -> None:
        self._page.line("model.train()", "run.begin_epoch")

    def _validate(self) -> None:
        if not self._validates_in_place:
            self._page.line("validate()", "run.validate")
            return
        self._page.remark("run.validate")
        self._evaluations.draw()

    def _step_schedules(self) -> None:
        several = self._subject.has_several
        for owner, scheduler in self._subject.schedules.by_epoch:
            called = self._subject.names.of(scheduler)
            with ExitStack() as stack:
                if several or self._verbs.may_skip:  # else it has stepped
                    stack.enter_context(self._page.block(f"if engine.state.optimizer_steps[{quoted(owner)}]:"))
                self._page.line(f"{called}.step()", f"{type(scheduler).__name__}, each epoch")
