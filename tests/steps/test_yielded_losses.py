import pytest
import torch
from torch import nn

from framework import Recording, StepError
from framework.backends import Clip
from framework.steps.step import Place
from framework.steps.yielded_losses import YieldedLosses


@pytest.fixture
def make(cpu, optimizers, a, b):
    """Makes a step. A batch is a list of (name or names, factor): the loss is factor times the sum of both weights."""

    def losses(engine, batch):
        for names, factor in batch:
            yield names if isinstance(names, tuple) else (names,), factor * (a + b).sum()
        return "output"

    def step(*places, backend=None, **options):
        given = iter(places)
        place = (lambda engine: next(given)) if places else None
        return YieldedLosses(backend or cpu, optimizers, losses, place=place, **options)

    return step


def test_each_loss_trains_its_own_optimizer_only(make, a, b):
    step = make()
    assert step.run(None, [("a", 2.0), ("b", 3.0)]) == "output"
    assert (a.item(), b.item()) == (-2.0, -3.0)
    assert (a.grad.item(), b.grad.item()) == (2.0, 3.0)
    assert step.counter.steps == {"a": 1, "b": 1}


def test_a_second_loss_is_a_second_step(make, a, b):
    step = make()
    step.run(None, [("a", 2.0), ("a", 3.0), ("b", 1.0), ("a", 1.0)])
    assert (a.item(), b.item()) == (-6.0, -1.0)
    assert step.counter.steps == {"a": 3, "b": 1}


def test_nothing_yielded_is_no_step(make, a):
    step = make()
    step.run(None, [("a", 2.0)])
    assert step.run(None, []) == "output"
    assert a.item() == -2.0
    assert step.counter.steps == {"a": 1, "b": 0}


def test_one_loss_for_several_optimizers_is_clipped_over_all(make, a, b):
    step = make(clip=Clip(norm=1.0))
    step.run(None, [(("a", "b"), 3.0)])
    assert (a.item(), b.item()) == (pytest.approx(-(0.5**0.5)), pytest.approx(-(0.5**0.5)))
    step.run(None, [("a", 3.0)])
    assert a.item() == pytest.approx(-(0.5**0.5) - 1.0)
    assert step.counter.grad_norms["a"].item() == 3.0


WINDOW = Place(True, False, 2), Place(False, True, 2)


def test_gradients_gather_over_a_window(make, a, b):
    step = make(*WINDOW)
    step.run(None, [("a", 2.0), ("b", 1.0)])
    assert (a.item(), b.item()) == (0.0, 0.0)
    step.run(None, [("a", 4.0), ("b", 2.0)])
    assert (a.item(), b.item()) == (-3.0, -1.5)
    assert step.counter.steps == {"a": 1, "b": 1}


@pytest.mark.parametrize("batches", [([("a", 2.0), ("b", 5.0)], [("a", 4.0)]), ([("a", 2.0)], [("b", 5.0), ("a", 4.0)])])
def test_an_optimizer_with_a_loss_in_some_batches_of_a_window_takes_their_mean(make, a, b, batches):
    step = make(*WINDOW, *WINDOW)
    for _ in range(2):
        for batch in batches:
            step.run(None, batch)
    assert (a.item(), b.item()) == (-6.0, -10.0)
    assert step.counter.steps == {"a": 2, "b": 2}


def test_a_window_cut_short_takes_the_mean_of_what_it_had(make, a, b):
    step = make(Place(True, False, 4), Place(False, False, 4))
    step.run(None, [("a", 2.0), ("b", 5.0)])
    step.run(None, [("a", 4.0)])
    step.finish_window()
    assert (a.item(), b.item()) == (-3.0, -5.0)


def test_two_losses_of_one_optimizer_in_a_batch_of_a_window_are_refused(make):
    with pytest.raises(StepError, match="yielded two losses for 'a' in a batch, which accumulate > 1 cannot tell apart"):
        make(*WINDOW).run(None, [("a", 2.0), ("a", 5.0)])


def test_an_optimizer_belongs_to_one_group_in_a_window(make):
    step = make(*WINDOW)
    step.run(None, [("a", 2.0)])
    with pytest.raises(StepError, match=r"for 'a' and 'b' in a window of accumulation in which 'a' has gradients for 'a'"):
        step.run(None, [(("a", "b"), 2.0)])


def test_groups_may_change_where_each_batch_is_a_window(make, a, b):
    step = make()
    step.run(None, [("a", 2.0), (("a", "b"), 1.0), ("b", 1.0)])
    assert (a.item(), b.item()) == (-3.0, -2.0)
    step.run(None, [(("a", "b"), 1.0)])
    assert (a.item(), b.item()) == (-4.0, -3.0)


def test_the_order_of_the_verbs(make, watcher):
    backend = Recording()
    step = make(backend=backend, clip=Clip(norm=9.0))
    step.run(None, [("a", 2.0), ("b", 5.0)])
    one = ["backward", "reduce", "unscale", "step_optimizer"]
    assert backend.calls == ["micro, last", *one, *one, "micro ends", "end_window", "mark_step"]


def test_the_scaler_is_told_before_an_optimizer_steps_again(make):
    backend = Recording()
    make(backend=backend).run(None, [("a", 2.0), ("a", 5.0)])
    one = ["backward", "reduce", "step_optimizer"]
    assert backend.calls == ["micro, last", *one, "end_window", *one, "micro ends", "end_window", "mark_step"]


def test_processes_are_asked_once_a_window(make):
    backend = Recording()
    step = make(*WINDOW, backend=backend)
    step.run(None, [("a", 2.0), ("b", 5.0)])
    step.run(None, [("a", 2.0), ("b", 5.0)])
    assert backend.calls.count("reduce") == 2
    assert backend.calls.count("end_window") == 1


def test_a_skipped_step_of_one_leaves_the_other(make, fp16, a, b):
    step = make(backend=fp16)
    step.run(None, [("a", float("inf")), ("b", 3.0)])
    assert (a.item(), b.item(), fp16.scaler.get_scale()) == (0.0, -3.0, 128.0)
    assert step.counter.steps == {"a": 0, "b": 1}


def test_an_observer_is_told_of_each(make, watcher, a, b):
    step = make()
    step.observer = watcher
    with torch.no_grad():
        a.fill_(1.0)
    step.run(None, [("a", 2.0), ("b", 5.0)])
    rest = ["backward_completed", "optimizer_step_started", "optimizer_step_completed"]
    assert watcher.seen == [("loss_computed", 2.0), *rest, ("loss_computed", -5.0), *rest]


def test_frozen_parameters_get_no_gradient(make, a, optimizers):
    frozen = nn.Parameter(torch.ones(1), requires_grad=False)
    optimizers["a"].add_param_group({"params": [frozen]})
    make().run(None, [("a", 2.0)])
    assert frozen.grad is None
    a.requires_grad_(False)
    with pytest.raises(StepError, match="yielded a loss for 'a', which has no parameter that requires gradients"):
        make().run(None, [("a", 2.0)])


def test_a_loss_of_another_optimizers_parameters_is_refused(cpu, optimizers, b):
    def losses(engine, batch):
        yield ("a",), (2 * b).sum()

    with pytest.raises(
        StepError, match=r"for 'a' depends on none of that optimizer's parameters. Yield \(name, loss\) with the name"
    ):
        YieldedLosses(cpu, optimizers, losses).run(None, None)


def test_a_loss_computed_ahead_of_a_step_says_what_to_do(cpu, optimizers, a, b):
    def losses(engine, batch):
        first, second = (a * a).sum(), (b * a * a).sum()
        yield ("a",), first
        yield ("b",), second

    with torch.no_grad():
        a.fill_(1.0)
    with pytest.raises(RuntimeError, match="inplace operation") as error:
        YieldedLosses(cpu, optimizers, losses).run(None, None)
    assert "compute a loss after the yield before it" in error.value.__notes__[0]


def test_each_stretch_between_yields_runs_in_the_backends_precision_and_nothing_else_does(optimizers, a, b):
    seen = []

    class Casting(Recording):
        def autocast(self, function):
            def wrapped(*arguments):
                self.calls.append("enter")
                try:
                    return function(*arguments)
                finally:
                    self.calls.append("leave")

            return wrapped

    backend = Casting()

    def losses(engine, batch):
        seen.append(list(backend.calls))
        yield ("a",), a.sum()
        seen.append(list(backend.calls))

    YieldedLosses(backend, optimizers, losses).run(None, None)
    assert [calls[-1] for calls in seen] == ["enter", "enter"]
    assert backend.calls == [
        *("micro, last", "enter", "leave", "backward", "reduce", "step_optimizer", "enter", "leave", "micro ends"),
        *("end_window", "mark_step"),
    ]


def test_the_generator_is_closed_where_a_step_fails(cpu, optimizers, a):
    ended = []

    def losses(engine, batch):
        try:
            yield ("a",), (a * a.detach().requires_grad_()).sum()
        finally:
            ended.append(True)

    class Broken(Recording):
        def backward(self, loss, optimizers, parameters):
            raise ArithmeticError("broken")

    with pytest.raises(ArithmeticError, match="broken"):
        YieldedLosses(Broken(), optimizers, losses).run(None, None)
    assert ended == [True]
