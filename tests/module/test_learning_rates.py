import gc
import weakref

import torch
from torch import nn
from torch.optim.lr_scheduler import ExponentialLR, LambdaLR

from framework import Schedule, TrainModule


class Two(TrainModule):
    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Linear(2, 1), nn.Linear(2, 1)

    def training_step(self, batch):
        return (self.left(batch) + self.right(batch)).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.25)


def rates(module, batches=4, **settings):
    fitted = module.fit([torch.ones(2, 2)] * batches, **{"max_epochs": 1, "log_every": 2, **settings}, progress=False)
    curves = {name: [tuple(point[:2]) for point in points] for name, points in fitted.series.items() if "/lr" in name}
    return curves, fitted


def test_a_lone_optimizer_has_one_curve_with_a_point_where_the_others_have_one():
    curves, result = rates(Two(), batches=5, max_epochs=2)
    assert curves == {"train/lr": [(iteration, 0.25) for iteration in (2, 4, 5, 6, 8, 10)]}
    assert [point.iteration for point in result.series["train/loss"]] == [2, 4, 5, 6, 8, 10]


def test_several_optimizers_and_groups():
    class Module(Two):
        def configure_optimizers(self):
            groups = [{"params": self.left.weight, "lr": 0.5}, {"params": self.left.bias, "name": "bias"}]
            return {"a": torch.optim.SGD(groups, lr=0.125), "b": torch.optim.SGD(self.right.parameters(), lr=torch.tensor(2.0))}

    curves, _ = rates(Module(), batches=2)
    assert curves == {"train/lr/a/0": [(2, 0.5)], "train/lr/a/bias": [(2, 0.125)], "train/lr/b": [(2, 2.0)]}


def test_a_point_has_the_rate_of_the_next_step_and_at_the_end_of_an_epoch_that_of_the_epoch():
    class ByStep(Two):
        def configure_schedulers(self, optimizers):
            return Schedule(LambdaLR(optimizers["main"], lambda step: 1 / (step + 1)), every="step")

    class ByEpoch(Two):
        def configure_schedulers(self, optimizers):
            return ExponentialLR(optimizers["main"], gamma=0.5)

    assert rates(ByStep())[0] == {"train/lr": [(2, 0.25 / 3), (4, 0.25 / 5)]}
    assert rates(ByEpoch(), max_epochs=3)[0] == {
        "train/lr": [(2, 0.25), (4, 0.25), (6, 0.125), (8, 0.125), (10, 0.0625), (12, 0.0625)]
    }


def test_rates_are_no_metrics():
    _, result = rates(Two())
    assert set(result.metrics) == {"train/loss"}
    assert "train/lr" not in result.history[0]


def test_what_the_module_logs_under_that_name_is_drawn_instead():
    class Module(Two):
        def on_iteration_completed(self):
            self.log("lr", 0.5)

    assert rates(Module())[0] == {"train/lr": [(2, 0.5), (4, 0.5)]}


def test_a_gauge_of_that_name_is_drawn_instead():
    class Module(Two):
        def on_started(self, engine):
            engine.state.recorder.gauge(lambda iteration: {"lr": float(iteration)})

    assert rates(Module())[0] == {"train/lr": [(2, 2.0), (4, 4.0)]}


def test_no_optimizer_is_kept():
    made = []

    class Module(Two):
        def configure_optimizers(self):
            made.append(weakref.ref(optimizer := super().configure_optimizers()))
            return optimizer

    Module().fit([torch.ones(2, 2)], max_epochs=1, progress=False)
    gc.collect()
    assert made[0]() is None
