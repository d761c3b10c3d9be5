"""A training step as the plain PyTorch that it is: of a returned loss, of yielded losses, of a closure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from framework.backends.clip import Clip
from framework.module.drawing.handlers import Handlers
from framework.module.drawing.names import place_of, quoted
from framework.module.drawing.page import Page
from framework.module.drawing.subject import Subject
from framework.module.drawing.verbs import Verbs
from framework.module.step_events import StepEvents
from framework.steps.closure import ClosureStep
from framework.steps.guarded_update import GuardedUpdate
from framework.steps.returned_loss import ReturnedLoss
from framework.steps.yielded_losses import YieldedLosses

_INSIDE = (
    StepEvents.LOSS_COMPUTED,
    StepEvents.BACKWARD_COMPLETED,
    StepEvents.OPTIMIZER_STEP_STARTED,
    StepEvents.OPTIMIZER_STEP_COMPLETED,
)


class StepDrawing:
    """Writes the step of a run.

    Args:
        page: where to.
        subject: what is drawn.
        handlers: of the training engine.
    """

    def __init__(self, page: Page, subject: Subject, handlers: Handlers) -> None:
        self._page = page
        self._subject = subject
        self._handlers = handlers
        self._optimizers = subject.optimizers
        self._verbs = Verbs(page, subject.backend, several=subject.has_several)
        self._step: Any = subject.run.parts.step
        self._window = subject.run.parts.window
        self._size = 1 if self._window is None else subject.settings.accumulate
        self._update: Any = getattr(self._step, "_update", None)
        self._guard: Any = getattr(self._step, "_guard", None)
        if isinstance(self._update, GuardedUpdate):
            self._guard, self._update = self._update._guard, self._update._update
        self._clip: Clip | None = getattr(self._step, "_clip", None) or getattr(self._update, "_clip", None)
        self._watched = bool(handlers.functions(*_INSIDE))
        self._skips = self._guard is not None and subject.settings.nan == "skip"
        self._spoiled = "spoiled"

    def draw(self) -> None:
        """Writes the step of one batch."""
        kinds: dict[type, Callable[[], None]] = {
            ReturnedLoss: self._returned,
            YieldedLosses: self._yielded,
            ClosureStep: self._closure,
        }
        draw = next((kinds[kind] for kind in type(self._step).__mro__ if kind in kinds), None)
        if draw is None:
            self._page.line("loss = step.run(engine, batch)", type(self._step).__name__)
        else:
            draw()
        for event in _INSIDE:
            self._handlers.pass_over(event)

    # Kinds of steps

    def _returned(self) -> None:
        page, verbs = self._page, self._verbs
        with self._if_opens():
            with self._each():
                page.line("optimizer.zero_grad()")
            if self._skips and self._window is not None:
                page.line("spoiled = False")
        with verbs.micro(self._last):
            self._forward()
            self._backward()
        with self._if_ends(), self._if_fit(self._apply_all):
            verbs.clip(self._clip, self._parameters(), len(self._optimizers))
            with self._each():
                self._step_one()
            verbs.end_window()
            self._step_schedules()
        verbs.mark_step()

    def _yielded(self) -> None:
        page, verbs = self._page, self._verbs
        windowed, self._spoiled = self._window is not None, "spoiled" if self._window is None else "spoiled[name]"
        with self._if_opens():
            if windowed:
                page.line("open_for = set()", "names of the optimizers that have gradients in this window")
                if self._skips:
                    page.line("spoiled = {}")
        with verbs.micro(self._last), self._each_yield():
            if self._guard is None:
                self._check_loss()
            page.line("optimizer = optimizers[name]", "each of them, for a tuple of names")
            with page.block("if name not in open_for:") if windowed else nullcontext():
                page.line("optimizer.zero_grad()")
                if windowed:
                    page.line("open_for.add(name)")
                    if self._skips:
                        page.line("spoiled[name] = False")
            if self._guard is not None:
                self._check_loss()
            self._backward("trainable(optimizer)")
            with self._if_ends():
                self._step_yielded()
                if windowed:
                    page.line("open_for.discard(name)")
        with self._if_ends():
            if windowed:
                with page.block("for name in open_for:", "those without a loss in the last batch"):
                    page.line("optimizer = optimizers[name]")
                    self._step_yielded()
            verbs.end_window()
        verbs.mark_step()

    def _closure(self) -> None:
        page, verbs = self._page, self._verbs
        with page.block("def closure():", "called as often as the optimizer likes"):
            with verbs.micro("True"):
                page.line("optimizer.zero_grad()")
                self._forward()
                self._backward()
            verbs.reduce("[optimizer]")
            self._handlers.draw(StepEvents.OPTIMIZER_STEP_STARTED)
            verbs.clip(self._clip, self._parameters(), len(self._optimizers))
            verbs.mark_step()
            page.line("return loss.detach()")
        page.line("optimizer.step(closure)")
        self._handlers.draw(StepEvents.OPTIMIZER_STEP_COMPLETED)
        self._step_schedules()
        verbs.mark_step()

    # Parts of them

    def _forward(self) -> None:
        with self._verbs.autocast():
            self._page.line(f"loss = {self._verbs.call(self._subject.training_step)}({self._arguments()})", self._place())
        self._check_loss()

    def _check_loss(self) -> None:
        settings, spoiled = self._subject.settings, self._spoiled
        if self._skips:
            before = "" if self._window is None else f"{spoiled} or "
            self._page.line(f"{spoiled} = {before}not loss.isfinite()", 'nan="skip": such a step is left out')
        elif self._guard is not None:
            self._page.line("refuse_non_finite(loss)", "debug=True: runs the step again, to name what is not finite")
        elif settings.nan == "stop" and self._subject.backend.reads_cost_nothing:
            self._page.line("refuse_non_finite(loss)", 'nan="stop"')

    def _backward(self, parameters: str = "") -> None:
        with self._page.block(f"if not {self._spoiled}:") if self._skips else nullcontext():
            self._handlers.draw(StepEvents.LOSS_COMPUTED)
            self._verbs.backward("loss" if self._window is None else "(loss / size)", parameters)
            self._handlers.draw(StepEvents.BACKWARD_COMPLETED)
            if self._guard is not None and self._guard.judges_gradients and self._guard.judges_each_backward:
                self._judge_gradients("debug=True")

    def _judge_gradients(self, comment: str) -> None:
        call = f"{self._spoiled} = not all_finite(gradients)" if self._skips else "refuse_non_finite(gradients)"
        self._page.line(call, comment)

    @contextmanager
    def _if_fit(self, show: Callable[[], None]) -> Iterator[None]:
        """Shows the gradients as they are before the clip; opens the block of what is done with them where they are finite."""
        page, spoiled = self._page, self._spoiled
        judges = self._guard is not None and self._guard.judges_gradients
        if not self._skips:
            show()
            if judges:
                self._judge_gradients("debug=True")
            yield
            return
        with page.block(f"if not {spoiled}:"):
            show()
            if judges:
                self._judge_gradients("")
        with page.block(f"if {spoiled}:", "no step: its gradients are forgotten"), self._each():
            page.line("optimizer.zero_grad()")
        with page.block("else:"):
            yield

    @contextmanager
    def _each_yield(self) -> Iterator[None]:
        """Opens the block that one yielded loss runs through; only what the module computes is under autocast."""
        page, call = self._page, f"{self._subject.training_step}({self._arguments()})"
        if not self._verbs.casts:
            with page.block(f"for name, loss in {call}:", self._place()):
                yield
            return
        page.line(f"losses = {call}", self._place())
        with page.block("while True:"):
            with self._verbs.autocast():
                page.line("name, loss = next(losses, (None, None))", "computes up to the next yield")
            with page.block("if name is None:"):
                page.line("break")
            yield

    def _apply_all(self) -> None:
        """Shows the gradients of all optimizers, as `Backend.apply` does."""
        self._verbs.reduce(self._all)
        if self._shows:
            with self._each():
                self._show()

    def _step_yielded(self) -> None:
        """Writes the step of the optimizer that a loss was yielded for."""

        def show() -> None:
            self._verbs.reduce("[optimizer]")
            if self._shows:
                self._show()

        with self._if_fit(show):
            self._verbs.clip(self._clip, "parameters_of([optimizer])", 1)
            self._step_one()
            self._step_schedules("name")

    @property
    def _shows(self) -> bool:
        judged = self._guard is not None and self._guard.judges_gradients
        looked_at = self._clip is not None or self._watched or judged
        return looked_at and (self._verbs.unscales or bool(self._handlers.functions(StepEvents.OPTIMIZER_STEP_STARTED)))

    def _show(self) -> None:
        self._verbs.unscale()
        self._handlers.draw(StepEvents.OPTIMIZER_STEP_STARTED)

    def _step_one(self) -> None:
        self._verbs.step()
        if self._handlers.functions(StepEvents.OPTIMIZER_STEP_COMPLETED):
            with self._verbs.if_stepped():
                self._handlers.draw(StepEvents.OPTIMIZER_STEP_COMPLETED)

    def _step_schedules(self, name: str = "") -> None:
        """Writes the schedules that follow the steps of an optimizer: all of them, or those of the one called `name`."""
        for owner, scheduler in self._subject.schedules.by_step:
            called = self._subject.names.of(scheduler)
            alone = len(self._optimizers) == 1 or bool(name)
            conditions = [f"{name} == {quoted(owner)}"] if name else []
            if self._verbs.may_skip:
                conditions.append("stepped(optimizer)" if alone else f"stepped(optimizers[{quoted(owner)}])")
            with self._page.block(f"if {' and '.join(conditions)}:") if conditions else nullcontext():
                of = "" if alone else f" of {quoted(owner)}"
                self._page.line(f"{called}.step()", f"{type(scheduler).__name__}, after each step{of}")

    @contextmanager
    def _if_opens(self) -> Iterator[None]:
        """Opens the block of the first batch of a window."""
        page, subject, size = self._page, self._subject, self._size
        if self._window is None:
            yield
            return
        ends = [str(size)]
        if subject.length is not None:
            ends.append(f"{subject.length} - index")
        if subject.settings.max_iters is not None:
            ends.append(f"{subject.settings.max_iters} - iteration + 1")
        with page.block(f"if index % {size} == 0:", f"a window of accumulate={size} opens"):
            if len(ends) > 1:
                page.line(f"size = min({', '.join(ends)})", "the last one may be short")
            else:
                page.line(f"size = {size}")
            yield

    def _if_ends(self) -> AbstractContextManager[None]:
        if self._window is None:
            return nullcontext()
        return self._page.block(f"if {self._last}:", "it ends")

    @property
    def _last(self) -> str:
        return "True" if self._window is None else f"index % {self._size} == size - 1"

    def _each(self) -> AbstractContextManager[None]:
        return self._page.block("for optimizer in optimizers.values():") if len(self._optimizers) > 1 else nullcontext()

    @property
    def _all(self) -> str:
        return "list(optimizers.values())" if len(self._optimizers) > 1 else "[optimizer]"

    def _parameters(self) -> str:
        return "model.parameters()" if self._subject.steps_all_parameters else f"parameters_of({self._all})"

    def _arguments(self) -> str:
        return "batch, engine" if self._subject.takes_engine("training_step") else "batch"

    def _place(self) -> str:
        return place_of(self._subject.module.training_step)
