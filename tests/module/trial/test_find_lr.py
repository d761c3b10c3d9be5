"""find_lr: which rates are taken, which losses are taken down, when it ends, what is left behind: nothing."""

import math
import random

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from framework import (
    DataError,
    FrameworkError,
    ModuleError,
    NonFiniteError,
    Schedule,
    SettingError,
    StepError,
    TrainModule,
    find_lr,
)
from tests.distributed.ranks import on_ranks


def by_hand(model, batches, rates, accumulate=1):
    """The loop that a user would write: the losses, each before the step with its rate."""
    optimizer = model.configure_optimizers()
    losses = []
    for step, rate in enumerate(rates):
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad()
        taken = [batches[(step * accumulate + index) % len(batches)] for index in range(accumulate)]
        each = [model.training_step(batch) / accumulate for batch in taken]
        for loss in each:
            loss.backward()
        losses.append(sum(each).item())
        optimizer.step()
    return losses


@pytest.mark.parametrize("accumulate", [1, 4])
def test_rates_and_losses_are_those_of_a_hand_written_loop(line, batches, accumulate):
    found = find_lr(line(), batches, lowest=1e-4, highest=1e-1, steps=10, accumulate=accumulate)
    assert found.rates == pytest.approx([1e-4 * 10 ** (step / 3) for step in range(10)])
    assert found.losses == pytest.approx(by_hand(line(), batches, found.rates, accumulate), rel=1e-5)
    assert found.reason == "highest=0.1 was reached."


def test_it_ends_where_the_loss_diverges(line, batches):
    learnable = [(x, x.sum(1, keepdim=True)) for x, _ in batches]
    found = find_lr(line(), learnable, highest=1e6, steps=200)
    assert len(found.rates) < 200
    assert found.reason == f"The loss diverged at the rate {found.rates[-1]:.3g}."
    assert 1e-3 < found.suggestion < 1


def test_it_ends_where_the_loss_is_no_number(line, batches):
    class Module(line):
        def training_step(self, batch):
            self.count = getattr(self, "count", 0) + 1
            return super().training_step(batch) * (math.nan if self.count == 4 else 1.0)

    found = find_lr(Module(), batches, lowest=1e-4, highest=1.0, steps=5)
    assert found.reason == "The loss diverged at the rate 0.1."
    assert len(found.losses) == 3


def test_a_loss_that_is_no_number_from_the_first_step_on_is_an_error(line, batches):
    class Module(line):
        def training_step(self, batch):
            return super().training_step(batch) * math.inf

    with pytest.raises(
        NonFiniteError, match=r"The loss of the first step is inf, at the rate 1e-07: there is none to compare with"
    ):
        find_lr(Module(), batches)


class Everything(TrainModule):
    """Holds state of every kind, and changes it in its steps and hooks."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 1))
        self.optimizer = torch.optim.Adam(self.parameters(), lr=0.01)
        self.seen, self.own = [], torch.Generator().manual_seed(1)
        self.closed = 0

    def training_step(self, batch):
        x, y = batch
        self.seen.append(random.random())
        torch.rand(1, generator=self.own)
        return F.mse_loss(self.net(x), y)

    def configure_optimizers(self):
        return self.optimizer

    def on_epoch_completed(self, engine):
        raise AssertionError("of a good end")

    def on_completed(self, engine):
        raise AssertionError("of a good end")


def state_of(module, loader):
    tensors = {**module.state_dict(), "generator": module.own.get_state(), "loader": loader.generator.get_state()}
    tensors["torch"] = torch.get_rng_state()
    gradients = [None if each.grad is None else each.grad.clone() for each in module.parameters()]
    plain = (list(module.seen), module.training, random.getstate(), str(module.optimizer.state_dict()), str(gradients))
    return {name: tensor.clone() for name, tensor in tensors.items()}, plain


@pytest.mark.parametrize("seed", [None, 5])
@pytest.mark.parametrize("ending", ["to the end", "diverges", "raises"])
def test_everything_is_put_back(batches, ending, seed):
    module = Everything()
    loader = DataLoader(
        TensorDataset(*(torch.cat(each) for each in zip(*batches, strict=True))),
        batch_size=8,
        shuffle=True,
        generator=torch.Generator().manual_seed(2),
    )
    module.training_step(next(iter(loader))).backward()
    module.optimizer.step()
    before = state_of(module, loader)
    if ending == "raises":
        module.seen = None  # append fails
        with pytest.raises(AttributeError, match="append"):
            find_lr(module, loader, seed=seed)
        module.seen = before[1][0]
    else:
        find_lr(module, loader, steps=30, highest=1e9 if ending == "diverges" else 1e-3, seed=seed)
    after = state_of(module, loader)
    assert before[1] == after[1]
    assert all(torch.equal(tensor, after[0][name]) for name, tensor in before[0].items())


def test_a_seed_gives_the_same_test_again(batches):
    module = Everything()
    first, second = (find_lr(module, batches, steps=20, seed=5) for _ in range(2))
    assert first.losses == second.losses
    assert find_lr(module, batches, steps=20, seed=6).losses != first.losses


def test_schedules_are_left_out(line, batches):
    class Module(line):
        def configure_schedulers(self, optimizers, total_steps):
            plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizers["main"])
            return Schedule(plateau, monitor="val/loss")  # which would need val_data

    assert len(find_lr(Module(), batches, steps=5, highest=1e-3).rates) == 5


def test_hooks_run_but_those_of_a_good_end(line, batches):
    class Module(line):
        def on_started(self):
            self.scale = 2.0

        def training_step(self, batch):
            return self.scale * super().training_step(batch)

        def on_iteration_completed(self, engine):
            told.append(engine.state.iteration)
            self.log("more", 1.0)

        def on_completed(self):
            told.append("completed")

        def on_closed(self):
            told.append("closed")

    told = []
    first = line().training_step(batches[0]).item()
    assert find_lr(Module(), batches, steps=3, highest=1e-3).losses[0] == pytest.approx(2 * first)
    assert told == [1, 2, 3, "closed"]


def test_a_hook_may_end_it(line, batches):
    class Module(line):
        def on_iteration_completed(self, engine):
            if engine.state.iteration == 3:
                engine.terminate(reason="Enough.")

    found = find_lr(Module(), batches, steps=9, highest=1e-3)
    assert (found.reason, len(found.rates)) == ("Enough.", 3)


def test_a_hook_that_ends_it_before_the_first_step_leaves_nothing_to_tell(line, batches):
    class Module(line):
        def on_iteration_started(self, engine):
            engine.terminate()

    found = find_lr(Module(), batches)
    assert (found.reason, found.rates, found.suggestion) == ("The run was ended by a hook.", [], None)


def test_groups_keep_their_proportions_also_as_tensors(line, batches):
    taken = []

    class Module(line):
        def configure_optimizers(self):
            groups = [{"params": [self.layer.weight], "lr": torch.tensor(0.01)}, {"params": [self.layer.bias], "lr": 0.04}]
            return torch.optim.SGD(groups, lr=1.0)

        def on_optimizer_step_started(self, optimizer):
            taken.append([float(group["lr"]) for group in optimizer.param_groups])

    find_lr(Module(), batches, lowest=1e-3, highest=1e-1, steps=3)
    assert taken == [pytest.approx([rate / 4, rate]) for rate in (1e-3, 1e-2, 1e-1)]


def test_a_rate_of_zero_is_raised_too(line, batches):
    class Module(line):
        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.0, momentum=0.9)

    found = find_lr(Module(), batches, lowest=1e-3, highest=1e-1, steps=9)
    assert found.losses == find_lr(line(), batches, lowest=1e-3, highest=1e-1, steps=9).losses


class Pair(TrainModule):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(4, 1), nn.Linear(4, 1)
        self.rates = []

    def training_step(self, batch):
        yield "one", 1 + self.one(batch[0]).square().mean()
        yield "two", 100 + self.two(batch[0]).square().mean()

    def configure_optimizers(self):
        return {"one": torch.optim.SGD(self.one.parameters(), lr=0.5), "two": torch.optim.SGD(self.two.parameters(), lr=0.25)}


def test_of_several_optimizers_one_is_raised_and_its_loss_taken(batches):
    taken = []

    class Module(Pair):
        def on_iteration_completed(self, engine):
            taken.append([optimizer.param_groups[0]["lr"] for optimizer in engine.state.optimizers.values()])

    found = find_lr(Module(), batches, lowest=1e-3, highest=1e-2, steps=2, optimizer="two")
    assert [loss > 99 for loss in found.losses] == [True, True]
    assert taken == [pytest.approx([0.5, 1e-3]), pytest.approx([0.5, 1e-2])]


def test_a_step_without_a_loss_of_that_optimizer_tells_nothing(batches):
    class Module(Pair):
        def training_step(self, batch):
            self.count = getattr(self, "count", 0) + 1
            if self.count % 2:
                yield "one", self.one(batch[0]).square().mean()
            else:
                yield "two", self.two(batch[0]).square().mean()

    assert len(find_lr(Module(), batches, steps=6, highest=1e-3, optimizer="two").losses) == 3


def test_an_optimizer_without_any_loss_is_an_error(batches):
    class Module(Pair):
        def training_step(self, batch):
            yield "one", self.one(batch[0]).square().mean()

    with pytest.raises(StepError, match="training_step yielded no loss of the optimizer 'two' in 6 steps, so nothing was measured"):
        find_lr(Module(), batches, steps=6, highest=1e-3, optimizer="two")


def test_without_data(line):
    class Module(line):
        def training_step(self, batch):
            return self(torch.ones(2, 4)).square().sum()

    assert len(find_lr(Module(), None, steps=4, highest=1e-3).rates) == 4


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 1}, "steps=1: steps should be a whole number of at least 2"),
        ({"lowest": 0}, "lowest=0: lowest should be a learning rate, a number above 0"),
        ({"lowest": True}, "lowest=True: lowest should be a learning rate"),
        ({"highest": math.inf}, "highest=inf: highest should be a learning rate"),
        ({"highest": "1"}, "highest='1': highest should be a learning rate"),
        ({"lowest": 1.0, "highest": 0.1}, r"lowest=1 and highest=0\.1: the rate rises, so lowest should be below highest"),
        ({"accumulate": 0}, "accumulate=0: accumulate should be a whole number of at least 1"),
        ({"clip_norm": -1}, "clip_norm=-1: clip_norm should be a number above 0"),
        ({"accelerator": "gpu"}, "accelerator"),
        ({"optimizer": "other"}, "optimizer='other': there is no such optimizer; there are 'main'"),
    ],
)
def test_settings_are_checked(line, batches, settings, message):
    with pytest.raises(FrameworkError, match=message):
        find_lr(line(), batches, **settings)


def test_of_several_optimizers_one_has_to_be_named(batches):
    with pytest.raises(SettingError, match=r"there are several\. Give optimizer: one of 'one', 'two'"):
        find_lr(Pair(), batches)


def test_an_optimizer_without_a_rate_is_refused(line, batches):
    class Plain(torch.optim.Optimizer):
        def __init__(self, parameters):
            super().__init__(parameters, {})

        def step(self, closure=None):
            pass

    class Module(line):
        def configure_optimizers(self):
            return Plain(self.parameters())

    with pytest.raises(SettingError, match=r"The optimizer 'main' \(Plain\) has no learning rate 'lr' to raise"):
        find_lr(Module(), batches)


def test_data_that_can_be_passed_over_only_once_is_refused(line, batches):
    with pytest.raises(DataError, match="find_lr would take batches out of this generator, which gives its batches only once"):
        find_lr(line(), (batch for batch in batches))


def test_mistakes_are_those_of_fit(line, batches):
    with pytest.raises(DataError, match="train_data is empty"):
        find_lr(line(), [])
    with pytest.raises(DataError, match="train_data"):
        find_lr(line(), lambda: iter(()))
    with pytest.raises(ModuleError, match="is in eval mode"):
        find_lr(line().eval(), batches)


def test_an_error_says_where_it_was(line, batches):
    class Module(line):
        def training_step(self, batch):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as error:
        find_lr(Module(), batches)
    assert "In find_lr: in the step of iteration 1 with the batch (float32 (8, 4), float32 (8, 1))." in error.value.__notes__


def of_two(rank, line):
    torch.manual_seed(rank)
    x = torch.randn(24, 4, generator=torch.Generator().manual_seed(3))
    data = DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), batch_size=4, shuffle=True)
    found = find_lr(line(), data, steps=20, seed=0, accelerator="cpu")
    return found.rates, found.losses, found.suggestion


def test_several_processes_find_one_rate(line):
    first, second = on_ranks(2, of_two, line)
    assert first == second
    assert len(first[0]) == len(first[1]) > 5
