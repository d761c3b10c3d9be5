import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, OneCycleLR, ReduceLROnPlateau, StepLR

from framework import ModuleError, Schedule
from framework.module.schedules import Schedules


@pytest.fixture
def optimizer():
    return torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=1.0)


def test_schedules_are_sorted_by_when_they_step(optimizer):
    lone, by_step, by_epoch = StepLR(optimizer, 1), StepLR(optimizer, 1), StepLR(optimizer, 1)
    plateau = ReduceLROnPlateau(optimizer)
    schedules = Schedules(
        {
            "lone": lone,
            "step": Schedule(by_step, every="step"),
            "epoch": Schedule(by_epoch),
            "plateau": Schedule(plateau, monitor="val/loss"),
        },
        {"main": optimizer},
        "Net",
    )
    assert (schedules.by_step, schedules.by_epoch) == ([("main", by_step)], [("main", lone), ("main", by_epoch)])
    assert schedules.monitored == [(plateau, "val/loss")]


def test_nothing_and_one_scheduler(optimizer):
    empty = Schedules(None, {"main": optimizer}, "Net")
    assert (empty.by_step, empty.by_epoch, empty.monitored) == ([], [], [])
    assert len(Schedules(StepLR(optimizer, 1), {"main": optimizer}, "Net").by_epoch) == 1
    assert len(Schedules(Schedule(StepLR(optimizer, 1), every="step"), {"main": optimizer}, "Net").by_step) == 1


def test_a_monitored_schedule_gets_its_value(optimizer):
    schedules = Schedules(
        Schedule(ReduceLROnPlateau(optimizer, patience=0, factor=0.5), monitor="val/loss"), {"main": optimizer}, "Net"
    )
    for loss in (1.0, 2.0):
        schedules.step_monitored({"val/loss": loss, "val/other": 0.0})
    assert optimizer.param_groups[0]["lr"] == 0.5


def test_a_metric_that_the_evaluation_does_not_give(optimizer):
    schedules = Schedules(Schedule(ReduceLROnPlateau(optimizer), monitor="val/los"), {"main": optimizer}, "Net")
    with pytest.raises(ModuleError, match=r"monitor='val/los'\): the evaluation gives no such metric; it gives val/loss, val/f1."):
        schedules.step_monitored({"val/loss": 1.0, "val/f1": 1.0})
    with pytest.raises(ModuleError, match="it gives none"):
        schedules.step_monitored({})


def test_a_plateau_needs_a_metric(optimizer):
    message = r"ReduceLROnPlateau needs a metric: Schedule\(scheduler, monitor='val/loss'\)"
    with pytest.raises(ModuleError, match=message):
        Schedule(ReduceLROnPlateau(optimizer))
    with pytest.raises(ModuleError, match=message):
        Schedules(ReduceLROnPlateau(optimizer), {"main": optimizer}, "Net")


@pytest.mark.parametrize("monitor", ["loss", "train/loss", "", 3])
def test_a_monitor_is_the_full_name_of_a_validation_metric(optimizer, monitor):
    with pytest.raises(ModuleError, match="monitor is the full name of a metric of val_data, such as 'val/loss'"):
        Schedule(ReduceLROnPlateau(optimizer), monitor=monitor)


def test_a_monitor_and_every_step_contradict_each_other(optimizer):
    with pytest.raises(ModuleError, match="A Schedule with a monitor steps after evaluations: leave every='step' out"):
        Schedule(ReduceLROnPlateau(optimizer), every="step", monitor="val/loss")


@pytest.mark.parametrize("every", ["iteration", None, 1])
def test_every_is_step_or_epoch(optimizer, every):
    with pytest.raises(ModuleError, match="every is one of 'step', 'epoch'"):
        Schedule(StepLR(optimizer, 1), every=every)


def test_a_schedule_holds_a_scheduler(optimizer):
    with pytest.raises(ModuleError, match=r"should be a scheduler of torch.optim.lr_scheduler, got SGD"):
        Schedule(optimizer)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda made: StepLR, "(type). It is the class: write StepLR(optimizers['main'], ...)."),
        (
            lambda made: {"scheduler": made, "interval": "step"},
            "(str) under 'interval'. Write Schedule(scheduler, every='step' or 'epoch', monitor=",
        ),
        (
            lambda made: {"a": {"scheduler": made}},
            "(dict) under 'a'. Write Schedule(scheduler, every='step' or 'epoch', monitor='val/loss').",
        ),
        (lambda made: [made], "(list). Give each a name: {'first': scheduler, 'second': other}."),
        (lambda made: made.optimizer, "got SGD. Return optimizers from configure_optimizers."),
        (lambda made: lambda step: 1.0, "use torch.optim.lr_scheduler.LambdaLR(optimizers['main'], function)."),
    ],
)
def test_what_other_libraries_return(optimizer, make, words):
    with pytest.raises(ModuleError) as error:
        Schedules(make(StepLR(optimizer, 1)), {"main": optimizer}, "Net")
    assert words in str(error.value)


def test_the_class_of_a_scheduler_in_a_schedule():
    with pytest.raises(ModuleError, match=r"It is the class: write StepLR\(optimizers\['main'\], ...\)"):
        Schedule(StepLR)


@pytest.mark.parametrize(("monitor", "meant"), [("val_loss", "loss"), ("accuracy", "accuracy"), ("train/loss", "loss")])
def test_the_full_name_is_suggested(optimizer, monitor, meant):
    with pytest.raises(ModuleError, match=f"Did you mean 'val/{meant}'"):
        Schedule(ReduceLROnPlateau(optimizer), monitor=monitor)


def test_anything_else_is_refused(optimizer):
    for configured in (3, [StepLR(optimizer, 1)], {"a": optimizer}):
        with pytest.raises(ModuleError, match=r"Net.configure_schedulers should return nothing, a torch scheduler, a Schedule, or"):
            Schedules(configured, {"main": optimizer}, "Net")


STEPWISE = {
    "total_steps": lambda optimizer, steps: OneCycleLR(optimizer, 0.1, total_steps=steps),
    "T_max": CosineAnnealingLR,
    "total_iters": lambda optimizer, steps: LinearLR(optimizer, total_iters=steps),
}


@pytest.mark.parametrize("option", STEPWISE)
def test_a_scheduler_made_for_steps_that_would_step_once_an_epoch(optimizer, option):
    make = STEPWISE[option]
    schedules = Schedules(make(optimizer, 60), {"main": optimizer}, "Net")
    with pytest.raises(
        ModuleError, match=rf"\({option}=60\) is made for all 60 optimizer steps .* once an epoch, 5 times.* every='step'"
    ):
        schedules.refuse_steps_for_epochs(60, 5)
    for total_steps, max_epochs in ((61, 5), (60, 60), (None, 5), (60, None)):
        schedules.refuse_steps_for_epochs(total_steps, max_epochs)
    by_step = Schedule(make(optimizer, 60), every="step")
    Schedules(by_step, {"main": optimizer}, "Net").refuse_steps_for_epochs(60, 5)
