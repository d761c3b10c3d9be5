"""Kinds of runs that differ in when they end, break off and validate."""

import torch
from faulty_runs import Net, loader
from kinds_of_data import Own
from kinds_of_runs import batches, kind
from torchmetrics import CatMetric

from framework import Events, Schedule
from framework.handlers import EarlyStopping


@kind(max_iters=5, max_epochs=None)
def an_end_inside_an_epoch():
    return Net(), loader(), {"val": loader(shuffle=False)}


@kind(max_iters=7, max_epochs=4, accumulate=2)
def an_end_inside_a_window():
    return Net(), lambda: iter(batches())


def ends_epochs(**how):
    class Module(Net):
        def on_iteration_completed(self, engine):
            if engine.state.iteration in (2, 3):
                engine.terminate_epoch(**how)

    return Module()


@kind(max_epochs=4)
def epochs_broken_off():
    return ends_epochs(), loader(), {"val": loader(shuffle=False)}


@kind(max_epochs=4)
def epochs_broken_off_without_an_end():
    return ends_epochs(skip_epoch_completed=True), loader(), {"val": loader(shuffle=False)}


@kind(max_epochs=4)
def epochs_broken_off_over_data_with_a_state():
    return ends_epochs(), Own()


@kind(max_epochs=4, epoch_length=3)
def epochs_broken_off_over_a_function():
    return ends_epochs(), lambda: iter(batches(4))


class Plateau(Net):
    def configure_schedulers(self, optimizers):
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizers["main"], patience=0, factor=0.5, threshold=0.5)
        return Schedule(plateau, monitor="val/loss")


@kind(validate_every=Events.ITERATION_COMPLETED(every=2), monitor="val/loss", max_epochs=3)
def validation_inside_epochs():
    return Plateau(), loader(), {"val": loader(), "handlers": [EarlyStopping("val/loss", patience=3)]}


@kind(validate_every=Events.STARTED | Events.EPOCH_COMPLETED, monitor="val/loss")
def validation_before_the_start():
    return Plateau(), loader(), {"val": loader()}


@kind(validate_every=Events.STARTED | Events.ITERATION_COMPLETED(every=2) | Events.EPOCH_COMPLETED, epoch_length=4)
def validation_at_several_events():
    return Plateau(), loader(), {"val": loader()}


@kind()
def evaluations_that_change_the_module():
    class Module(Net):
        def __init__(self):
            super().__init__()
            self.seen = CatMetric()
            self.register_buffer("evaluated", torch.zeros(()))
            self.losses = []

        def evaluation_step(self, batch):
            results = super().evaluation_step(batch)
            self.seen.update(results["loss"])
            self.evaluated += 1
            self.losses.append(results["loss"].item())
            return {**results, "seen": self.seen.compute().sum(), "count": self.evaluated.clone(), "sum": sum(self.losses)}

        def get_extra_state(self):
            return {"losses": self.losses}

        def set_extra_state(self, state):
            self.losses = state["losses"]

    return Module(), loader(), {"val": loader(shuffle=False)}


@kind(max_epochs=5)
def stopped_early():
    return Plateau(), loader(), {"val": loader(), "handlers": [EarlyStopping("val/loss", patience=1, min_delta=5.0)]}
