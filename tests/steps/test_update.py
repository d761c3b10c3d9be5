import pytest
import torch

from framework import StepError
from framework.backends import Clip
from framework.steps.counter import StepCounter
from framework.steps.update import SummedLoss, Update


@pytest.fixture
def update(cpu, a, optimizers):
    made = Update(cpu, {"a": optimizers["a"]}, None, StepCounter(["a"]))
    made.open()
    return made


def test_losses_are_divided_by_the_size_of_the_window(update, a):
    update.backward((a * 2).sum(), 2, None)
    update.backward((a * 4).sum(), 2, None)
    assert update.is_open
    update.finish(None)
    assert not update.is_open
    assert a.item() == -3.0


def test_a_window_that_held_less_is_divided_by_what_it_held(update, a):
    update.backward((a * 2).sum(), 4, None)
    update.backward((a * 4).sum(), 4, None)
    update.finish(None)
    assert a.item() == -3.0


def test_a_loss_alone_is_not_touched(update, a):
    loss = (a * 2).sum()
    loss.register_hook(lambda gradient: torch.testing.assert_close(gradient, torch.tensor(1.0), rtol=0, atol=0))
    update.backward(loss, 1, None)
    update.finish(None)
    assert a.grad.item() == 2.0


@pytest.mark.parametrize("kind", [float, torch.tensor])
def test_sums_are_weighed_by_their_counts(update, a, kind):
    update.backward(SummedLoss((a * 6).sum(), kind(3.0)), 2, None)
    update.backward(SummedLoss((a * 4).sum(), kind(1.0)), 2, None)
    update.finish(None)
    assert a.item() == pytest.approx(-10.0 / 4.0)


def test_a_sum_alone_is_divided_by_its_count(update, a):
    update.backward(SummedLoss((a * 6).sum(), 3.0), 1, None)
    update.finish(None)
    assert a.item() == -2.0


def test_each_window_has_its_own_unit(update, a):
    for count in (3.0, 5.0):
        update.open()
        update.backward(SummedLoss((a * count).sum(), count), 1, None)
        update.finish(None)
    assert a.item() == -2.0


def test_sums_and_means_do_not_mix_in_a_window(update, a):
    update.backward(a.sum(), 2, None)
    with pytest.raises(StepError, match="for some batches of a window of accumulation and a mean loss for others"):
        update.backward(SummedLoss(a.sum(), 3.0), 2, None)


def test_gradients_go_to_the_parameters_given(update, a, b):
    update.backward((a * b).sum() + (3 * a).sum(), 1, None, [a])
    assert a.grad.item() == 3.0
    assert b.grad is None


def test_the_observer_sees_the_undivided_loss(update, a, watcher):
    with torch.no_grad():
        a.fill_(1.0)
    update.backward((a * 6).sum(), 2, watcher)
    update.backward((a * 6).sum(), 2, watcher)
    update.finish(watcher)
    told = [("loss_computed", 6.0), "backward_completed"]
    assert watcher.seen == [*told, *told, "optimizer_step_started", "optimizer_step_completed"]


def test_the_clip_is_over_the_optimizers_together_and_its_norm_is_kept(cpu, a, b, optimizers):
    counter = StepCounter(optimizers)
    update = Update(cpu, optimizers, Clip(norm=1.0), counter)
    update.open()
    update.backward((3 * a + 4 * b).sum(), 1, None)
    update.finish(None)
    assert (a.item(), b.item()) == (pytest.approx(-0.6), pytest.approx(-0.8))
    assert {name: norm.item() for name, norm in counter.grad_norms.items()} == {"a": 5.0, "b": 5.0}


@pytest.mark.parametrize("kind", [float, torch.tensor])
@pytest.mark.parametrize("counts", [(0.0, 4.0), (4.0, 0.0)])
def test_a_batch_without_any_thing_in_it_weighs_nothing(update, a, kind, counts):
    for count in counts:
        update.backward(SummedLoss((a * 2 * count).sum(), kind(count)), 2, None)
    update.finish(None)
    assert a.item() == -2.0


def test_a_step_without_any_thing_in_it_is_refused(update, a):
    with pytest.raises(StepError, match=r"'n': 0} for every batch of an optimizer step"):
        update.backward(SummedLoss((a * 0).sum(), 0.0), 1, None)
    update.open()
    update.backward(SummedLoss((a * 0).sum(), 0.0), 2, None)
    with pytest.raises(StepError, match=r"Leave such batches out of the data"):
        update.finish(None)


def test_gradients_from_before_this_object_are_kept_as_they_are(cpu, a, optimizers):
    resumed = Update(cpu, {"a": optimizers["a"]}, None, StepCounter(["a"]))
    a.grad = torch.tensor([1.0])  # half of a window of two, from an earlier run
    resumed.backward((a * 4).sum(), 2, None)
    resumed.finish(None)
    assert a.item() == -3.0


def test_gradients_that_somebody_else_clears_inside_a_window(update, a, optimizers):
    for size in (3, 3):
        update.open()
        update.backward(a.sum(), size, None)
        update.backward(a.sum(), size, None)
        optimizers["a"].zero_grad()
        with pytest.raises(StepError, match=r"were gone before it ended: training_step or a hook has called zero_grad\(\)"):
            update.backward(a.sum(), size, None)


def test_a_batch_whose_loss_depends_on_nothing_has_cleared_nothing(update, a, optimizers):
    nothing = torch.zeros((), requires_grad=True)
    for losses in ((nothing, nothing, a.sum() * 3), (a.sum() * 3, nothing, nothing), (nothing, a.sum() * 3, nothing)):
        update.open()
        for loss in losses:
            update.backward(loss, 3, None)
        update.finish(None)
    assert a.item() == -3.0
    update.open()
    update.backward(nothing, 3, None)
    update.backward(a.sum(), 3, None)
    optimizers["a"].zero_grad()
    with pytest.raises(StepError, match="were gone before it ended"):
        update.backward(a.sum(), 3, None)


def test_a_window_in_which_each_batch_uses_other_parameters(cpu, a, b, optimizers):
    update = Update(cpu, optimizers, None, StepCounter(optimizers))
    for first, second in ((a, b), (b, a)):
        update.open()
        update.backward(first.sum(), 2, None)
        update.backward(second.sum(), 2, None)
        update.finish(None)
    assert (a.item(), b.item()) == (-1.0, -1.0)


def test_what_a_batch_counts_over_processes_weighs_its_mean(cpu, update, a):
    cpu.weight = 0.5
    update.backward((a * 6).sum(), 1, None)
    update.finish(None)
    assert a.item() == -3.0


@pytest.mark.parametrize(("weight", "stepped"), [(0.5, -2.0), (0.0, 0.0)])
def test_a_sum_over_processes_counts_by_its_count_unless_it_only_fills_up(cpu, update, a, weight, stepped):
    cpu.weight, cpu.average = weight, lambda count: count or 1.0  # another process has things where this one has none
    update.backward(SummedLoss((a * 6).sum(), 3.0), 1, None)
    update.finish(None)
    assert a.item() == stepped


@pytest.mark.parametrize("kind", [float, torch.tensor])
def test_sums_are_divided_by_the_mean_of_the_counts_over_processes(cpu, update, a, kind):
    asked = []

    def average(count):
        asked.append(float(count))
        return count * 2  # the other process has three times as much

    cpu.average = average
    for count in (1.0, 3.0):
        update.backward(SummedLoss((a * 8).sum(), kind(count)), 2, None)
    update.finish(None)
    assert a.item() == -16.0 / 8.0
    assert asked == [1.0, 4.0]  # twice a window, whatever it holds


def test_means_are_not_asked_for_over_processes(cpu, update, a):
    cpu.average = lambda count: pytest.fail("it costs a round between the processes")
    update.backward(a.sum(), 2, None)
    update.backward(a.sum(), 2, None)
    update.finish(None)
    assert a.item() == -1.0


def test_a_step_with_nothing_in_it_on_any_process_is_refused(cpu, update, a):
    cpu.average = lambda count: count
    with pytest.raises(StepError, match=r"'n': 0} for every batch of an optimizer step"):
        update.backward(SummedLoss((a * 0).sum(), 0.0), 1, None)
