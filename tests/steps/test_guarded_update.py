import pytest
import torch

from framework import Plain, Recording
from framework.backends import Clip
from framework.steps.closure import ClosureStep
from framework.steps.counter import StepCounter
from framework.steps.guarded_update import GuardedUpdate, make_update
from framework.steps.returned_loss import ReturnedLoss
from framework.steps.step import Place
from framework.steps.update import Update
from framework.steps.yielded_losses import YieldedLosses


class Judge:
    """Refuses losses above 100 and gradients above 10, and writes down what it is told."""

    judges_gradients = True
    judges_each_backward = False

    def __init__(self, **attributes):
        self.told = []
        self.__dict__.update(attributes)

    def takes_loss(self, names, loss):
        return loss.item() <= 100

    def takes_gradients(self, names, optimizers):
        return all(each.grad.abs().max() <= 10 for optimizer in optimizers for each in optimizer.param_groups[0]["params"])

    def note_step(self, names):
        self.told.append(("step", names))

    def note_left_out(self, names):
        self.told.append(("left out", names))


MAIN = ("main",)
STEP, LEFT_OUT = ("step", MAIN), ("left out", MAIN)


@pytest.fixture
def make(a, b):
    """A step of the sum of both weights times the batch plus 1: its gradient is the batch, its first loss 1."""

    def step(guard, *places, backend=None, **options):
        given = iter(places)
        place = (lambda engine: next(given)) if places else None
        backend = backend or Plain(torch.device("cpu"))
        optimizer = torch.optim.SGD([a, b], lr=1.0)
        return ReturnedLoss(
            backend,
            {"main": optimizer},
            lambda engine, batch: ((a + b - (a + b).detach()).sum() * batch[1] + batch[0], "output"),
            place=place,
            guard=guard,
            **options,
        )

    return step


def test_without_a_guard_there_is_nothing_in_between(cpu, optimizers):
    assert type(make_update(cpu, optimizers, None, StepCounter(optimizers), None)) is Update
    assert type(make_update(cpu, optimizers, None, StepCounter(optimizers), Judge())) is GuardedUpdate


@pytest.mark.parametrize("batch", [(101.0, 1.0), (1.0, 11.0)], ids=["loss", "gradients"])
def test_a_step_that_is_refused_is_left_out(make, a, batch):
    guard = Judge()
    step = make(guard)
    assert [step.run(None, each) for each in ((1.0, 2.0), batch, (1.0, 3.0))] == ["output"] * 3
    assert a.item() == -5.0
    assert guard.told == [STEP, LEFT_OUT, STEP]
    assert step.counter.steps == {"main": 2}


@pytest.mark.parametrize("batch", [(101.0, 1.0), (1.0, 11.0)], ids=["loss", "gradients"])
def test_its_gradients_are_cleared(make, a, batch):
    step = make(Judge())
    step.run(None, batch)
    assert a.grad is None


WINDOW = Place(True, False, 3), Place(False, False, 3), Place(False, True, 3)


@pytest.mark.parametrize("bad", [0, 1, 2])
@pytest.mark.parametrize("batch", [(101.0, 1.0), (1.0, 40.0)], ids=["loss", "gradients"])
def test_one_batch_spoils_its_window(make, a, batch, bad):
    guard = Judge()
    step = make(guard, *WINDOW, *WINDOW)
    for place in range(6):
        step.run(None, batch if place == bad else (1.0, 3.0))
    assert a.item() == -3.0
    assert guard.told == [LEFT_OUT, STEP]


def test_a_spoilt_window_that_is_cut_short(make, a):
    guard = Judge()
    step = make(guard, *WINDOW[:2], *WINDOW[:2])
    step.run(None, (101.0, 1.0))
    step.run(None, (1.0, 3.0))
    step.finish_window()
    assert (a.item(), guard.told) == (0.0, [LEFT_OUT])
    for gradient in (3.0, 6.0):
        step.run(None, (1.0, gradient))
    step.finish_window()
    assert (a.item(), guard.told) == (-4.5, [LEFT_OUT, STEP])


def test_gradients_are_judged_as_the_hooks_leave_them_and_before_the_clip(make, a, watcher):
    class Mending(type(watcher)):
        def optimizer_step_started(self, optimizer):
            super().optimizer_step_started(optimizer)
            a.grad.clamp_(max=9.0)

    step = make(Judge(), clip=Clip(norm=1.0))
    step.run(None, (1.0, 11.0))
    assert a.item() == 0.0
    step.observer = Mending()
    with torch.no_grad():
        step._update.optimizers[0].param_groups[0]["params"].pop()
    step.run(None, (1.0, 11.0))
    assert a.item() == pytest.approx(-1.0)
    assert step.observer.seen[1:] == ["backward_completed", "optimizer_step_started", "optimizer_step_completed"]


def test_the_hooks_of_what_is_left_out(make, watcher):
    step = make(Judge())
    step.observer = watcher
    step.run(None, (101.0, 1.0))
    assert watcher.seen == []
    step.run(None, (1.0, 11.0))
    assert watcher.seen == [("loss_computed", 1.0), "backward_completed", "optimizer_step_started"]


def test_a_scaler_judges_gradients_by_itself(make, fp16, a):
    guard = Judge(judges_gradients=False, judges_each_backward=True)
    step = make(guard, backend=fp16)
    step.run(None, (1.0, 1e38))
    assert (a.item(), fp16.scaler.get_scale(), guard.told) == (0.0, 128.0, [STEP])
    step.run(None, (101.0, 1.0))
    assert (a.item(), fp16.scaler.get_scale(), guard.told) == (0.0, 128.0, [STEP, LEFT_OUT])


def test_what_is_not_stepped_is_not_handed_to_the_backend(make):
    backend = Recording()
    step = make(Judge(), backend=backend)
    step.run(None, (101.0, 1.0))
    assert backend.calls == ["micro, last", "micro ends", "mark_step"]
    backend.calls.clear()
    step.run(None, (1.0, 11.0))
    assert backend.calls == ["micro, last", "backward", "micro ends", "reduce", "unscale", "mark_step"]


def test_gradients_may_be_judged_after_each_backward(make):
    guard = Judge(judges_each_backward=True)
    step = make(guard, *WINDOW)
    step.run(None, (1.0, 33.0))
    assert guard.told == [LEFT_OUT]
    step.run(None, (1.0, 3.0))
    step.run(None, (1.0, 3.0))
    assert guard.told == [LEFT_OUT]


@pytest.mark.parametrize("batch", [(101.0, 1.0), (1.0, 11.0)], ids=["loss", "gradients"])
def test_of_yielded_losses_each_is_left_out_alone(cpu, optimizers, a, b, batch):
    def losses(engine, batch):
        value, gradient = batch
        yield ("a",), (a - a.detach()).sum() * gradient + value
        yield ("b",), 2 * b.sum()

    guard = Judge()
    step = YieldedLosses(cpu, optimizers, losses, guard=guard)
    step.run(None, batch)
    step.run(None, (1.0, 3.0))
    assert (a.item(), b.item()) == (-3.0, -4.0)
    assert guard.told == [("left out", ("a",)), ("step", ("b",)), ("step", ("a",)), ("step", ("b",))]
    assert step.counter.steps == {"a": 1, "b": 2}


def test_a_spoilt_window_of_yielded_losses_stays_open(cpu, optimizers, a, b):
    def losses(engine, batch):
        yield ("a",), (a - a.detach()).sum() * 3 + batch
        yield ("b",), 2 * b.sum()

    guard, given = Judge(), iter((*WINDOW[:2], *WINDOW))
    step = YieldedLosses(cpu, optimizers, losses, place=lambda engine: next(given), guard=guard)
    step.run(None, 101.0)
    step.run(None, 1.0)
    step.finish_window()
    assert (a.item(), b.item()) == (0.0, -2.0)
    assert guard.told == [("left out", ("a",)), ("step", ("b",))]
    for _ in range(3):
        step.run(None, 1.0)
    assert (a.item(), b.item()) == (-3.0, -4.0)


def test_a_closure_is_judged_too(cpu, a):
    class Refuses(Judge):
        def takes_loss(self, names, loss):
            raise ArithmeticError("bad")

    optimizers = {"main": torch.optim.LBFGS([a])}
    step = ClosureStep(cpu, optimizers, lambda engine, batch: (a.sum(), None), None, guard=Refuses())
    with pytest.raises(ArithmeticError, match="bad"):
        step.run(None, None)


class Another(Plain):
    """One of two processes: says what the mean over both is."""

    def __init__(self, *others):
        super().__init__(torch.device("cpu"))
        self.others = iter(others)

    def average(self, taken):
        return (taken + next(self.others)) / 2


class Told(Judge):
    def refuse_elsewhere(self, names, what):
        self.told.append(("elsewhere", names, what))


def test_processes_leave_out_a_loss_together(make, a):
    guard = Told(judges_gradients=False)
    step = make(guard, backend=Another(1.0, 0.0, 1.0, 0.0))
    step.run(None, (1.0, 3.0))
    step.run(None, (1.0, 3.0))
    step.run(None, (101.0, 3.0))
    step.run(None, (101.0, 3.0))
    assert a.item() == -3.0
    assert guard.told == [STEP, ("elsewhere", MAIN, "loss"), LEFT_OUT, LEFT_OUT, LEFT_OUT]


def test_processes_leave_out_gradients_together(make, a):
    guard = Told(judges_each_backward=True)
    step = make(guard, backend=Another(1.0, 0.0, 1.0, 1.0))
    step.run(None, (1.0, 3.0))
    step.run(None, (1.0, 3.0))
    assert a.item() == -3.0
    assert guard.told == [("elsewhere", MAIN, "gradients"), LEFT_OUT, STEP]
