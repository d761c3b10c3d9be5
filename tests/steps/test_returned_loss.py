import pytest
import torch
from torch import nn

from framework import Plain, Recording
from framework.backends import Clip
from framework.steps.returned_loss import ReturnedLoss
from framework.steps.step import ALONE, Place


@pytest.fixture
def weight():
    return nn.Parameter(torch.zeros(1))


def make(weight, *places, backend=None, **options):
    """A step whose gradient is the batch, with learning rate 1: the weight is minus the sum of the gradients stepped with."""
    optimizers = {"main": torch.optim.SGD([weight], lr=1.0)}
    given = iter(places)
    return ReturnedLoss(
        backend or Plain(torch.device("cpu")),
        optimizers,
        lambda engine, batch: ((weight * batch).sum(), (engine, batch)),
        place=(lambda engine: next(given)) if places else None,
        **options,
    )


def test_each_batch_is_a_window_of_its_own(weight):
    step = make(weight)
    assert step.run("engine", 2.0) == ("engine", 2.0)
    assert weight.item() == -2.0
    step.run("engine", 3.0)
    assert weight.item() == -5.0
    assert step.counter.steps == {"main": 2}
    assert Place(first=True, last=True, size=1) == ALONE


def test_gradients_stay_until_the_next_window_opens(weight):
    step = make(weight)
    step.run(None, 2.0)
    assert weight.grad.item() == 2.0
    step.run(None, 3.0)
    assert weight.grad.item() == 3.0


def test_a_window_steps_once_with_the_mean_of_its_gradients(weight):
    window = Place(True, False, 4), Place(False, False, 4), Place(False, False, 4), Place(False, True, 4)
    step = make(weight, *window)
    for batch in (1.0, 2.0, 3.0):
        step.run(None, batch)
        assert weight.item() == 0.0
    step.run(None, 6.0)
    assert weight.item() == -3.0
    assert step.counter.steps == {"main": 1}


def test_a_window_cut_short_is_brought_to_its_real_size(weight):
    stepped = []
    step = make(weight, Place(True, False, 4), Place(False, False, 4), on_stepped=lambda name: stepped.append(weight.item()))
    step.run(None, 1.0)
    step.run(None, 3.0)
    step.finish_window()
    assert weight.item() == -2.0
    assert step.counter.steps == {"main": 1}
    assert stepped == [-2.0]


def test_the_clip_applies_to_the_window(weight):
    step = make(weight, Place(True, False, 2), Place(False, True, 2), clip=Clip(norm=1.0))
    step.run(None, 6.0)
    assert weight.grad.item() == 3.0
    step.run(None, 6.0)
    assert weight.item() == pytest.approx(-1.0)


def test_skipped_steps_are_not_counted(weight):
    stepped = []
    step = make(weight, backend=Recording(skipped_steps=(0,)), on_stepped=lambda name: stepped.append(weight.item()))
    step.run(None, 1.0)
    step.run(None, 2.0)
    assert step.counter.steps == {"main": 1}
    assert stepped == [-2.0]


def test_an_observer_is_told_in_order_the_undivided_loss(weight, watcher):
    step = make(weight, Place(True, False, 2), Place(False, True, 2))
    step.observer = watcher
    with torch.no_grad():
        weight.fill_(1.0)
    step.run(None, 4.0)
    assert watcher.seen == [("loss_computed", 4.0), "backward_completed"]
    step.run(None, 6.0)
    assert watcher.seen[2:] == [
        ("loss_computed", 6.0),
        "backward_completed",
        "optimizer_step_started",
        "optimizer_step_completed",
    ]


def test_an_observer_is_told_of_a_short_window(weight, watcher):
    step = make(weight, Place(True, False, 2))
    step.observer = watcher
    step.run(None, 4.0)
    step.finish_window()
    assert watcher.seen[-2:] == ["optimizer_step_started", "optimizer_step_completed"]


def test_an_inactive_observer_is_told_nothing(weight, watcher):
    backend = Recording()
    step = make(weight, Place(True, True, 1), Place(True, False, 2), backend=backend)
    step.observer, watcher.active = watcher, False
    step.run(None, 4.0)
    step.run(None, 4.0)
    step.finish_window()
    assert watcher.seen == []
    assert "unscale" not in backend.calls


def test_the_forward_pass_runs_in_the_backends_precision(weight):
    class Wrapping(Recording):
        def autocast(self, function):
            def wrapped(engine, batch):
                self.calls.append("enter")
                try:
                    return function(engine, batch)
                finally:
                    self.calls.append("leave")

            return wrapped

    backend = Wrapping()
    make(weight, backend=backend).run(None, 1.0)
    assert backend.calls == [
        *("micro, last", "enter", "leave", "backward", "micro ends"),
        *("reduce", "step_optimizer", "end_window", "mark_step"),
    ]


def test_the_optimizers_own_zero_grad_is_called_without_arguments(weight):
    class Fused(torch.optim.SGD):
        def zero_grad(self):
            for group in self.param_groups:
                for parameter in group["params"]:
                    parameter.grad = None

    step = ReturnedLoss(
        Plain(torch.device("cpu")), {"main": Fused([weight], lr=1.0)}, lambda engine, batch: ((weight * batch).sum(), None)
    )
    step.run(None, 1.0)
    step.run(None, 1.0)
    assert weight.item() == -2.0
