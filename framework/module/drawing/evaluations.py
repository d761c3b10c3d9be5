"""The evaluations of a run, written as the loops that they are."""

from __future__ import annotations

from contextlib import ExitStack

from framework.engine.events import Events
from framework.module.data_source import CalledAnew, length_of
from framework.module.drawing.handlers import Handlers
from framework.module.drawing.names import place_of, quoted
from framework.module.drawing.page import Page
from framework.module.drawing.passes import describe_data, draw_batches
from framework.module.drawing.subject import Subject
from framework.module.drawing.verbs import Verbs
from framework.module.evaluation import Evaluation
from framework.module.step_events import StepEvents
from framework.module.stopping.boundary import Boundary

_ASKED = (
    (Events.TERMINATE, "except Terminated:"),
    (Events.INTERRUPT, "except Paused:"),
    (Events.EXCEPTION_RAISED, "except BaseException as exception:"),
)


class EvaluationDrawing:
    """Writes what `Run.validate` does.

    Args:
        page: where to.
        subject: what is drawn.
        handlers: of the training engine.
    """

    def __init__(self, page: Page, subject: Subject, handlers: Handlers) -> None:
        self._page = page
        self._subject = subject
        self._handlers = handlers
        self._verbs = Verbs(page, subject.backend, several=subject.has_several)

    def draw(self) -> None:
        """Writes every evaluation, and what waits for their results."""
        subject = self._subject
        for evaluation, *_ in subject.run.evaluations:
            self._draw_one(evaluation)
        for scheduler, monitor in subject.schedules.monitored:
            self._page.line(f"{subject.names.of(scheduler)}.step(metrics[{quoted(monitor)}])", type(scheduler).__name__)
        self._handlers.draw(StepEvents.EVALUATED)

    def _draw_one(self, evaluation: Evaluation) -> None:
        page, stage = self._page, evaluation.stage
        names = list(evaluation._metrics._metrics)
        page.line("model.eval()")
        with ExitStack() as stack:
            for weights in evaluation._around:
                owner = self._subject.names.of(getattr(weights, "__self__", weights))
                stack.enter_context(page.block(f"with {owner}.evaluation_weights(model):"))
            comment = f"{stage}: what it draws does not change training"
            stack.enter_context(page.block("with torch.no_grad(), RandomStream(seed):", comment))
            if names:
                page.line("evaluation_metrics.reset()", ", ".join(names))
                self._pass(evaluation, "evaluation_metrics.update(output)")
                page.line("metrics.update(evaluation_metrics.compute())", ", ".join(f"{stage}/{name}" for name in names))
            else:
                self._pass(evaluation, "recorder.record(output)")
                page.line("metrics.update(recorder.means())", f"{stage}/..., of what the step returns and logs")
        page.line("model.train()", "each submodule as it was")

    def _pass(self, evaluation: Evaluation, take: str) -> None:
        page, subject = self._page, self._subject
        own = Handlers(page, subject.names, evaluation.engine, "evaluator", {})
        asked = [(event, header) for event, header in _ASKED if _by_a_user(own, event)]
        with page.block("try:") if asked else ExitStack():
            own.draw(Events.STARTED, Events.EPOCH_STARTED)
            self._batches(evaluation, own, take)
            own.draw(Events.EPOCH_COMPLETED, Events.COMPLETED)
        for event, header in asked:
            with page.block(header):
                own.draw(event)
                if event == Events.EXCEPTION_RAISED:
                    page.line("raise")

    def _batches(self, evaluation: Evaluation, own: Handlers, take: str) -> None:
        page, subject, stage = self._page, self._subject, evaluation.stage
        data, limit = subject.val[stage], subject.settings.limit_val_batches
        length = length_of(data)
        expression = "val_data" if stage == "val" else f"val_data[{quoted(stage.removeprefix('val/'))}]"
        expression += "()" if isinstance(data, CalledAnew) else ""
        if limit is not None and (length is None or limit < length):
            expression, length = f"islice({expression}, {limit})", None if length is None else limit
        ended = bool(own.functions(Events.TERMINATE_SINGLE_EPOCH))
        with ExitStack() as stack:
            if ended:
                stack.enter_context(page.block("try:"))
            comment = describe_data(data, length)
            stack.enter_context(draw_batches(page, own, self._verbs.feed(expression), length, comment, one_pass=True))
            own.draw(Events.ITERATION_STARTED)
            arguments = "batch, evaluator" if subject.takes_engine("evaluation_step") else "batch"
            with self._verbs.autocast():
                call = f"{self._verbs.call(subject.evaluation_step)}({arguments})"
                page.line(f"output = {call}", place_of(subject.module.evaluation_step))
            page.line(take)
            self._verbs.mark_step()
            own.draw(Events.ITERATION_COMPLETED)
        if ended:
            with page.block("except EpochTerminated:"):
                own.draw(Events.TERMINATE_SINGLE_EPOCH)


def _by_a_user(handlers: Handlers, event: str) -> bool:
    return any(function is not Boundary.end_evaluation for function in handlers.functions(event))
