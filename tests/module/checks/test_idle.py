"""Runs that train nothing are refused."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from framework import Events, NonFiniteError, StepError, TrainModule

BATCHES = [(torch.ones(8, 4), torch.ones(8, 1))] * 4


class Two(TrainModule):
    """Two layers, of which the step uses the first."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 1), nn.Linear(4, 1)

    def training_step(self, batch):
        x, y = batch
        return F.mse_loss(self.first(x), y)

    def configure_optimizers(self):
        return {name: torch.optim.SGD(getattr(self, name).parameters(), lr=0.01) for name in ("first", "second")}


class Yields(Two):
    """Yields losses in some iterations."""

    at = ()

    def training_step(self, batch, engine):
        if engine.state.iteration in self.at:
            yield "first", F.mse_loss(self.first(batch[0]), batch[1])
            yield "second", F.mse_loss(self.second(batch[0]), batch[1])


def fit(module, **settings):
    return module.fit(BATCHES, **{"max_epochs": 2, "accelerator": "cpu", "progress": False, **settings})


def yields_at(*iterations):
    return type("YieldsAt", (Yields,), {"at": iterations})()


@pytest.mark.parametrize(("iterations", "epoch"), [((), 1), ((1, 2), 2)])
def test_an_epoch_without_a_step_is_refused(iterations, epoch):
    words = rf"No optimizer stepped in epoch {epoch}, in 4 iterations: training_step yielded no loss. Yield \(name, loss\)"
    with pytest.raises(StepError, match=words):
        fit(yields_at(*iterations))


def test_a_step_in_each_epoch_is_enough():
    assert fit(yields_at(4, 5)).status == "completed"


def test_a_run_that_ends_inside_an_epoch_without_a_step_is_refused():
    with pytest.raises(StepError, match="No optimizer stepped in epoch 1, in 3 iterations"):
        fit(yields_at(4), max_epochs=None, max_iters=3)
    assert fit(yields_at(2), max_epochs=None, max_iters=3).status == "completed"


@pytest.mark.parametrize("end", ["terminate", "terminate_epoch"])
def test_an_epoch_that_somebody_ended_needs_no_step(end):
    class Ends:
        def on_iteration_completed(self, engine):
            if engine.state.iteration in (2, 4):
                getattr(engine, end)()

    assert fit(yields_at(), handlers=[Ends()]).status in ("stopped", "completed")


def test_an_optimizer_that_no_loss_reaches_is_refused_before_anything_is_trained():
    class Lone(Two):
        def configure_optimizers(self):
            return torch.optim.SGD(self.second.parameters(), lr=0.01)

    module = Lone()
    before = [parameter.clone() for parameter in module.parameters()]
    words = (
        r"The optimizer 'main' got no gradients in iteration 1: the loss depends on none of its parameters. Look for .detach\(\)"
    )
    with pytest.raises(StepError, match=words):
        fit(module)
    assert all(map(torch.equal, before, module.parameters()))


def test_several_optimizers_that_no_loss_reaches():
    class Other(Two):
        def __init__(self):
            super().__init__()
            self.third = nn.Linear(4, 1)

        def training_step(self, batch):
            return self.third(batch[0]).mean()

    with pytest.raises(
        StepError, match=r"The optimizers 'first' and 'second' got no gradients in iteration 1.*none of their parame"
    ):
        fit(Other())


def test_one_of_several_has_the_first_epoch_for_its_first_gradients():
    with pytest.raises(StepError, match=r"The optimizer 'second' got no gradients in epoch 1.*requires_grad_"):
        fit(Two())

    class InTurns(Two):
        def training_step(self, batch, engine):
            layer = (self.first, self.second)[engine.state.iteration // 3 % 2]
            return F.mse_loss(layer(batch[0]), batch[1])

    assert fit(InTurns()).status == "completed"


def test_parameters_that_rest_need_no_gradients():
    module = Two()
    module.second.requires_grad_(False)
    assert fit(module).status == "completed"


def test_gradients_may_be_gone_when_they_are_looked_for():
    class Clears(Two):
        def configure_optimizers(self):
            return torch.optim.SGD(self.first.parameters(), lr=0.01)

        def on_optimizer_step_completed(self, optimizer):
            optimizer.zero_grad()

    assert fit(Clears()).status == "completed"


def test_it_looks_no_longer_than_it_has_to():
    registered = []

    class Lone(Two):
        def configure_optimizers(self):
            return torch.optim.SGD(self.first.parameters(), lr=0.01)

        def on_iteration_started(self, engine):
            registered.append(len(engine._table.slots[Events.ITERATION_COMPLETED].records))

    fit(Lone())
    assert registered == [registered[1] + 1, *[registered[1]] * 7]


class Overflows(Two):
    def configure_optimizers(self):
        return torch.optim.SGD(self.first.parameters(), lr=0.01)

    def training_step(self, batch):
        return super().training_step(batch).sqrt() * 0 + (self.first.weight.sum() * 0).sqrt()  # the loss is 0, its gradient NaN


def test_a_gradient_scaler_that_skips_every_step_of_an_epoch(fp16):
    words = "The gradient scaler has skipped all 28 steps of epoch 1, for gradients that are not finite.*precision='bf16'"
    with pytest.raises(NonFiniteError, match=words):
        fit(Overflows(), accelerator=fp16, max_epochs=1, epoch_length=28)


def test_a_few_skipped_steps_are_the_scalers_way_to_its_scale(fp16):
    assert fit(Overflows(), accelerator=fp16).status == "completed"


def test_steps_that_were_left_out_are_told_by_those_who_did():
    class Spoilt(Two):
        def configure_optimizers(self):
            return torch.optim.SGD(self.first.parameters(), lr=0.01)

        def training_step(self, batch, engine):
            return super().training_step(batch) * (float("nan") if engine.state.iteration == 1 else 1.0)

    with pytest.warns(UserWarning, match="nan='skip'"):
        assert fit(Spoilt(), nan="skip").status == "completed"


def test_an_optimizer_that_a_hook_has_frozen_waits_for_its_turn():
    class Turns(Two):
        def on_epoch_started(self, engine):
            self.first.requires_grad_(engine.state.epoch == 1)
            self.second.requires_grad_(engine.state.epoch == 2)

        def training_step(self, batch):
            x, y = batch
            return F.mse_loss(self.first(x) + self.second(x), y)

    assert fit(Turns()).status == "completed"


@pytest.mark.parametrize("first", [0.0, 1.0])
def test_a_first_loss_of_nothing_is_no_mistake_where_it_is_zero(first):
    class Masked(Two):
        def training_step(self, batch, engine):
            used = engine.state.iteration > 2
            return {"loss": super().training_step(batch) if used else torch.tensor(first, requires_grad=True)}

        def configure_optimizers(self):
            return torch.optim.SGD(self.first.parameters(), lr=0.01)

    if first == 0:
        assert fit(Masked()).status == "completed"
    else:
        with pytest.raises(StepError, match="'main' got no gradients in iteration 1"):
            fit(Masked())


def test_losses_of_nothing_in_a_whole_epoch_are_a_mistake():
    class Empty(Two):
        def training_step(self, batch):
            return torch.zeros((), requires_grad=True)

    with pytest.raises(StepError, match="The optimizers 'first' and 'second' got no gradients in epoch 1"):
        fit(Empty())
