"""Schedules in fit: when they step, and on which numbers."""

import pytest
import torch

from framework import DataError, ModuleError, Schedule


class Steps:
    """The learning rates that the iterations of a run saw."""

    def __init__(self):
        self.rates = []

    def on_iteration_started(self, engine):
        self.rates.append(round(engine.state.optimizers["main"].param_groups[0]["lr"], 8))


def test_a_scheduler_steps_once_an_epoch(line, batches):
    class Module(line):
        def configure_schedulers(self, optimizers):
            return torch.optim.lr_scheduler.StepLR(optimizers["main"], step_size=1, gamma=0.5)

    steps = Steps()
    Module().fit(batches[:2], max_epochs=3, handlers=[steps], progress=False)
    assert steps.rates == [0.05, 0.05, 0.025, 0.025, 0.0125, 0.0125]


def test_a_schedule_by_steps_knows_how_many_there_will_be(line, batches):
    class Module(line):
        def configure_schedulers(self, optimizers, total_steps):
            self.total = total_steps
            return Schedule(torch.optim.lr_scheduler.StepLR(optimizers["main"], step_size=1, gamma=0.5), every="step")

    module, steps = Module(), Steps()
    module.fit(batches, max_epochs=1, accumulate=2, handlers=[steps], progress=False)
    assert steps.rates == [0.05, 0.05, 0.025, 0.025, 0.0125, 0.0125]
    assert module.total == 3


@pytest.mark.parametrize(
    ("settings", "total"),
    [
        ({"max_epochs": 3}, 18),
        ({"max_epochs": 3, "accumulate": 4}, 6),
        ({"max_iters": 8, "accumulate": 4}, 3),
        ({"max_epochs": 3, "max_iters": 8}, 8),
        ({"max_epochs": 3, "limit_train_batches": 2}, 6),
        ({"max_epochs": 3, "epoch_length": 4}, 12),
    ],
)
def test_total_steps_is_the_number_of_steps_made(line, batches, settings, total):
    class Module(line):
        def configure_schedulers(self, optimizers, total_steps):
            self.total = total_steps

    module = Module()
    result = module.fit(batches, progress=False, **settings)
    assert module.total == result.state.optimizer_steps["main"] == total


def test_total_steps_is_none_where_the_length_is_unknown(line, batches):
    class Module(line):
        def configure_schedulers(self, optimizers, total_steps):
            assert total_steps is None

    Module().fit(lambda: iter(batches), max_epochs=1, progress=False)


def test_a_monitored_schedule_steps_after_each_validation_with_its_value(line, batches):
    given = []

    class Plateau(torch.optim.lr_scheduler.ReduceLROnPlateau):
        def step(self, metrics, *rest):
            given.append(metrics)
            super().step(metrics, *rest)

    class Module(line):
        def configure_schedulers(self, optimizers):
            return Schedule(Plateau(optimizers["main"], patience=0, threshold=1e9), monitor="val/loss")

    result = Module().fit(batches, batches[:2], max_epochs=4, validate_every=2, progress=False)
    assert given == [row["val/loss"] for row in result.history if "val/loss" in row]
    assert len(given) == 2
    assert result.state.optimizers["main"].param_groups[0]["lr"] == pytest.approx(0.0005)


def test_a_monitored_schedule_without_validation_data_is_refused(line, counted):
    class Module(line):
        def configure_schedulers(self, optimizers):
            return Schedule(torch.optim.lr_scheduler.ReduceLROnPlateau(optimizers["main"]), monitor="val/loss")

    with pytest.raises(DataError, match=r"monitor='val/loss'\) needs val_data"):
        Module().fit(counted, max_epochs=1, progress=False)
    assert counted.reads == 0


def test_a_monitor_that_no_evaluation_gives_is_refused(line, batches):
    class Module(line):
        def configure_schedulers(self, optimizers):
            return Schedule(torch.optim.lr_scheduler.ReduceLROnPlateau(optimizers["main"]), monitor="val/los")

    with pytest.raises(ModuleError, match=r"monitor='val/los'.*it gives val/loss"):
        Module().fit(batches, batches, max_epochs=1, progress=False)


def test_schedules_and_counts_follow_the_steps_that_really_happened(line, batches, fp16):
    class Module(line):
        def training_step(self, batch, engine):
            loss = super().training_step(batch)
            return loss * float("inf") if engine.state.iteration in (1, 4) else loss

        def configure_schedulers(self, optimizers):
            return Schedule(torch.optim.lr_scheduler.StepLR(optimizers["main"], step_size=1, gamma=0.5), every="step")

        def on_iteration_completed(self, engine):
            weights.append(self.layer.weight.detach().clone())

        def on_optimizer_step_completed(self, optimizer):
            completed.append(optimizer)

    weights, completed, steps = [], [], Steps()
    result = Module().fit(batches, max_epochs=1, accelerator=fp16, nan="ignore", handlers=[steps], progress=False)
    assert result.state.optimizer_steps == {"main": 4}
    assert len(completed) == 4
    assert steps.rates == [0.05, 0.05, 0.025, 0.0125, 0.0125, 0.00625]
    assert torch.equal(weights[2], weights[3])
    assert not torch.equal(weights[3], weights[4])


def test_an_epoch_whose_steps_were_all_skipped_steps_no_schedule(line, batches, fp16):
    class Module(line):
        def training_step(self, batch, engine):
            return super().training_step(batch) * (float("inf") if engine.state.epoch == 1 else 1.0)

        def configure_schedulers(self, optimizers):
            return torch.optim.lr_scheduler.StepLR(optimizers["main"], step_size=1, gamma=0.5)

    steps = Steps()
    Module().fit(batches[:1], max_epochs=3, accelerator=fp16, nan="ignore", handlers=[steps], progress=False)
    assert steps.rates == [0.05, 0.05, 0.025]
