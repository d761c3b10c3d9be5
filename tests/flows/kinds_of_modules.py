"""Kinds of runs that differ in what their module keeps and does."""

import random

import numpy
import torch
from faulty_runs import Net, loader
from kinds_of_runs import kind
from torch import nn
from torch.nn import functional as F
from torchmetrics import CatMetric, MeanMetric, MetricCollection
from torchmetrics.classification import BinaryAccuracy

from framework import Schedule
from framework.handlers import EMA


@kind()
def plain():
    return Net(), loader()


@kind(max_epochs=3)
def frozen_and_unfrozen_in_the_run():
    class Module(Net):
        def __init__(self):
            super().__init__()
            self.net[0].requires_grad_(False)

        def on_iteration_completed(self, engine):
            self.net[0].requires_grad_(engine.state.iteration in (2, 3, 4, 7))

    return Module(), loader()


@kind()
def parts_in_eval_mode():
    class Module(Net):
        def on_epoch_started(self):
            self.net[1].eval()

        def on_iteration_completed(self, engine):
            self.net[3].train(engine.state.iteration % 2 == 0)

    return Module(), loader()


@kind()
def buffers_that_are_not_persistent():
    class Module(Net):
        def __init__(self):
            super().__init__()
            self.register_buffer("mean", torch.zeros(4), persistent=False)
            self.register_buffer("later", None, persistent=False)

        def training_step(self, batch):
            x, y = batch
            self.mean.mul_(0.9).add_(0.1 * x.mean(0))
            loss = F.mse_loss(self.net(x - self.mean), y)
            if self.later is not None:
                loss = loss * self.later
            self.later = 1 + 0.1 * x.mean()
            return loss

    return Module(), loader()


@kind()
def metrics_inside_the_module():
    class Module(Net):
        def __init__(self):
            super().__init__()
            self.seen = MetricCollection({"mean": MeanMetric(), "all": CatMetric()})
            self.right = BinaryAccuracy()

        def training_step(self, batch):
            x, y = batch
            loss = F.mse_loss(self.net(x), y)
            self.seen.update(loss.detach())
            self.right.update(self.net(x).detach().sigmoid(), y.int())
            self.log("seen", self.seen["all"].compute().sum())
            return loss * (1 + self.right.compute())

    return Module(), loader()


@kind(max_epochs=3)
def groups_added_in_the_run():
    class Module(Net):
        def configure_optimizers(self):
            return torch.optim.Adam(self.net[4].parameters(), lr=0.05)

        def on_epoch_started(self, engine):
            if engine.state.epoch == 2:
                engine.state.optimizers["main"].add_param_group({"params": list(self.net[0].parameters()), "lr": 0.01})

    return Module(), loader()


@kind(clip_norm=1.0)
def generator_steps_of_two_optimizers():
    class Module(Net):
        def __init__(self):
            super().__init__()
            self.critic = nn.Linear(5, 1)

        def training_step(self, batch):
            x, _ = batch
            made = self.net(x)
            real = self.critic(torch.cat([x, x[:, :1]], 1))
            yield "critic", (self.critic(torch.cat([x, made.detach()], 1)) - real).mean()
            yield "net", -self.critic(torch.cat([x, made], 1)).mean() + 0.1 * torch.rand(())
            return {"drawn": torch.rand(())}

        def configure_optimizers(self):
            adam = torch.optim.Adam(self.net.parameters(), lr=0.01)
            return {"net": adam, "critic": torch.optim.RMSprop(self.critic.parameters(), lr=0.01)}

    return Module(), loader()


@kind(accumulate=2)
def generator_steps_accumulated():
    return generator_steps_of_two_optimizers()


@kind()
def lbfgs():
    class Module(Net):
        def configure_optimizers(self):
            return torch.optim.LBFGS(self.parameters(), lr=0.1, max_iter=3, history_size=2)

    return Module(), loader()


@kind(max_epochs=3)
def every_optimizer_and_scheduler():
    of = torch.optim
    optimizers = {
        "sgd": lambda p: of.SGD(p, 0.1, momentum=0.9, nesterov=True),
        "adam": lambda p: of.Adam(p, torch.tensor(0.01), amsgrad=True),
        "adamw": lambda p: of.AdamW(p, 0.01),
        "nadam": lambda p: of.NAdam(p, 0.01),
        "radam": lambda p: of.RAdam(p, 0.01),
        "adamax": lambda p: of.Adamax(p, 0.01),
        "adagrad": lambda p: of.Adagrad(p, 0.01),
        "adadelta": lambda p: of.Adadelta(p, 0.1),
        "rmsprop": lambda p: of.RMSprop(p, 0.01, centered=True, momentum=0.1),
        "rprop": lambda p: of.Rprop(p, 0.01),
        "asgd": lambda p: of.ASGD(p, 0.01),
        "adafactor": lambda p: of.Adafactor(p, 0.01),
        "muon": lambda p: of.Muon(p, 0.01),
    }
    by = of.lr_scheduler
    schedulers = {
        "sgd": lambda o: Schedule(by.OneCycleLR(o, 0.2, total_steps=20), every="step"),
        "adam": lambda o: Schedule(by.LinearLR(o, total_iters=5), every="step"),
        "adamw": lambda o: Schedule(by.CyclicLR(o, 0.01, 0.02, step_size_up=2, cycle_momentum=False), every="step"),
        "nadam": lambda o: by.MultiStepLR(o, [1, 2]),
        "radam": lambda o: by.CosineAnnealingWarmRestarts(o, 2),
        "adamax": lambda o: Schedule(by.SequentialLR(o, [by.ConstantLR(o), by.ExponentialLR(o, 0.9)], [2]), every="step"),
        "adagrad": lambda o: Schedule(by.ChainedScheduler([by.ConstantLR(o), by.ExponentialLR(o, 0.9)]), every="step"),
        "adadelta": lambda o: by.LambdaLR(o, lambda epoch: 0.9**epoch),
        "rmsprop": lambda o: by.MultiplicativeLR(o, lambda epoch: 0.9),
        "rprop": lambda o: by.StepLR(o, 1),
        "asgd": lambda o: by.PolynomialLR(o, 4),
        "adafactor": lambda o: by.CosineAnnealingLR(o, 4),
        "muon": lambda o: Schedule(of.swa_utils.SWALR(o, 0.05, anneal_epochs=3), every="step"),
    }

    class Module(Net):
        def __init__(self):
            super().__init__()
            self.parts = nn.ModuleDict({name: nn.Linear(4, 2, bias=False) for name in optimizers})

        def training_step(self, batch):
            x, y = batch
            return sum(F.mse_loss(part(x).sum(1, keepdim=True), y) for part in self.parts.values())

        def configure_optimizers(self):
            return {name: make(self.parts[name].parameters()) for name, make in optimizers.items()}

        def configure_schedulers(self, made):
            return {name: make(made[name]) for name, make in schedulers.items()}

    return Module(), loader()


@kind(max_epochs=3)
def extra_state():
    class Module(Net):
        def __init__(self):
            super().__init__()
            self.history = {"losses": [], "pairs": ((1, 2.5), {"a": None}), "last": torch.zeros(1)}

        def get_extra_state(self):
            return self.history

        def set_extra_state(self, state):
            self.history = state

        def training_step(self, batch):
            loss = super().training_step(batch) * (1 + 0.01 * len(self.history["losses"]))
            self.history["losses"].append(loss.item())
            self.history["last"] = self.history["last"] * 0.5 + loss.detach()
            return loss

    return Module(), loader()


@kind()
def weights_tied_normed_complex_and_in_bfloat16():
    class Module(Net):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
            self.second.weight = self.first.weight
            self.normed = nn.utils.parametrizations.spectral_norm(nn.Linear(4, 4))
            self.turned = nn.Parameter(torch.ones(4, dtype=torch.complex64))
            self.small = nn.Linear(4, 4, dtype=torch.bfloat16)

        def training_step(self, batch):
            x, y = batch
            small = self.small(x.bfloat16()).float()
            return F.mse_loss(self.net(self.normed(self.second(self.first(x)))) + (self.turned * x).abs().sum() + small.sum(), y)

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), lr=0.01)

    return Module(), loader()


@kind()
def lazy_layers():
    class Module(Net):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.LazyLinear(5), nn.LazyBatchNorm1d(), nn.Linear(5, 1))

    return Module(), loader()


@kind(precision="bf16", max_epochs=3)
def in_bf16_with_averages():
    return Net(), loader(), {"handlers": [EMA(decay=0.7)], "val": loader(shuffle=False)}


@kind()
def random_numbers_of_every_library():
    class Module(Net):
        def training_step(self, batch):
            self.log("drawn", random.random() + numpy.random.normal())
            return super().training_step(batch) * (1 + random.gauss(0, 0.1) + 0.1 * numpy.random.rand())

        def on_get_batch_completed(self, engine):
            x, y = engine.state.batch
            engine.state.batch = x + 0.1 * torch.randn(()), y

        def on_epoch_completed(self):
            self.log("at_the_end", torch.rand(()))

    return Module(), loader()
