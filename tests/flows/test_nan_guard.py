"""nan="skip": what is left of a run is, bit for bit, the loop written by hand that leaves the bad steps out."""

import copy

import pytest
import torch
from faulty_runs import Does, Net, assert_ends_as, assert_same_end, checkpoints, fit, go_on, stop
from torch import nn
from torch.nn import functional as F

from framework import AMP, Events, NonFiniteError, Plain, ResumeError, Schedule, TrainModule, seed_all
from framework.checkpoint import open_checkpoint
from framework.module.non_finite.guard import MOST_IN_A_ROW

pytestmark = pytest.mark.usefixtures("quick_disk")
CPU = torch.device("cpu")


class Late(Plain):
    """A CPU on which reading a number would make something wait, as on a GPU."""

    reads_cost_nothing = False


class Small(TrainModule):
    """Its loss is bad where the batch is; its gradients are where the batch holds a negative number."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.3), nn.Linear(6, 1))

    def training_step(self, batch):
        x, y = batch
        return F.mse_loss(self.net(x), y) + self.edge(x)

    def edge(self, x):
        """Returns 0; its gradient is not finite where x is negative."""
        return (self.net[4].bias.sum() * 0).square().sqrt() if x.min() < 0 else self.net[4].bias.sum() * 0

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


class Summed(Small):
    def training_step(self, batch):
        return {"loss": super().training_step(batch) * len(batch[0]), "n": len(batch[0]), "other": batch[0].mean()}


def batches(*, nan=(), edge=(), count=7):
    generator = torch.Generator().manual_seed(4)
    data = [(torch.rand(8, 4, generator=generator), torch.rand(8, 1, generator=generator)) for _ in range(count)]
    for places, value in ((nan, float("nan")), (edge, -1.0)):
        for place in places:
            data[place][0][3, 2] = value
    return data


def pair(kind=Small):
    seed_all(5)
    one = kind()
    return one, copy.deepcopy(one)


def by_hand(model, data, *, accumulate=1, norm=None, autocast=None, scaler=None):
    """One epoch that leaves out each window in which a loss is bad, or with whose gradients a step would be."""
    optimizer, left_out = model.configure_optimizers(), 0
    model.train()
    for start in range(0, len(data), accumulate):
        window, bad = data[start : start + accumulate], False
        optimizer.zero_grad()
        for batch in window:
            buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
            with torch.autocast("cpu", dtype=autocast, enabled=autocast is not None):
                loss = model.training_step(batch)
            if not loss.isfinite():
                bad = True
                for name, buffer in model.named_buffers():
                    buffer.copy_(buffers[name])
            elif not bad:
                share = loss / len(window) if len(window) > 1 else loss
                (share if scaler is None else scaler.scale(share)).backward()
        if scaler is None:
            bad = bad or not all(parameter.grad.isfinite().all() for parameter in model.parameters())
        if bad:
            left_out += 1
            optimizer.zero_grad()
            continue
        if scaler is not None:
            scaler.unscale_(optimizer)
        if norm is not None:
            nn.utils.clip_grad_norm_(model.parameters(), norm)
        if scaler is None:
            optimizer.step()
        else:
            scaler.step(optimizer)
            scaler.update()
    return left_out


def assert_same(one, other):
    for (name, ours), theirs in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs), name
        assert ours.isfinite().all(), name


def skip(module, data, **settings):
    seed_all(9)
    with pytest.warns(UserWarning, match=r"nan='skip'") as warned:
        result = module.fit(data, **{"max_epochs": 1, "accelerator": "cpu", "nan": "skip", "progress": False, **settings})
    assert {each.filename for each in warned if "nan='skip'" in str(each.message)} == {__file__}
    return result, [str(each.message) for each in warned]


@pytest.mark.fault(21, 22)
@pytest.mark.parametrize("bad", [{"nan": [2]}, {"edge": [2]}, {"nan": [0, 4], "edge": [1, 5]}], ids=str)
@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("settings", [{}, {"clip_norm": 0.05}, {"accelerator": Late(CPU)}, {"precision": "bf16"}], ids=str)
def test_what_is_left_is_the_loop_by_hand(bad, accumulate, settings):
    by_fit, other = pair()
    data = batches(**bad)
    autocast = torch.bfloat16 if settings.get("precision") == "bf16" else None
    seed_all(9)
    left_out = by_hand(other, data, accumulate=accumulate, norm=settings.get("clip_norm"), autocast=autocast)
    result, _ = skip(by_fit, data, accumulate=accumulate, **settings)
    assert_same(by_fit, other)
    assert result.state.skipped_steps == left_out > 0
    assert result.state.optimizer_steps == {"main": -(-7 // accumulate) - left_out}
    assert result.metrics["train/loss"] == result.metrics["train/loss"]  # which no NaN is


@pytest.mark.fault(21)
@pytest.mark.filterwarnings("ignore:fp16 on the CPU is several times slower")
@pytest.mark.parametrize("accumulate", [1, 3])
def test_the_steps_that_a_scaler_leaves_out_stay_its_own(accumulate):
    by_fit, other = pair()
    data = batches(nan=[5], count=12)
    scalers = [torch.amp.GradScaler("cpu", init_scale=2.0**18) for _ in range(2)]
    seed_all(9)
    by_hand(other, data, accumulate=accumulate, norm=0.5, autocast=torch.float16, scaler=scalers[0])
    backend = AMP(CPU, "fp16", scaler=scalers[1])
    result, _ = skip(by_fit, data, accumulate=accumulate, clip_norm=0.5, accelerator=backend)
    assert_same(by_fit, other)
    assert scalers[1].get_scale() == scalers[0].get_scale() < 2.0**18
    windows = 12 // accumulate
    assert result.state.skipped_steps == 1
    assert result.state.optimizer_steps["main"] < windows - 1  # the scaler left out some too, which are not counted twice


def test_sums_are_left_out_with_what_is_returned_beside_them():
    by_fit, other = pair(Summed)
    data = batches(nan=[2])
    result, _ = skip(by_fit, data)
    assert result.state.skipped_steps == 1
    rest, _ = skip(other, [*data[:2], *data[3:], data[2]])  # the random numbers differ, the batches do not
    assert result.metrics["train/other"] == pytest.approx(rest.metrics["train/other"])


class Two(Small):
    """The loss of each for an optimizer of its own."""

    def __init__(self):
        super().__init__()
        self.other = nn.Linear(4, 1)

    def training_step(self, batch):
        x, y = batch
        yield "one", F.mse_loss(self.net(x.nan_to_num()), y)
        yield "two", F.mse_loss(self.other(x), y) + (self.other.weight.sum() * 0 if x.min() >= 0 else self.edge_of_other())

    def edge_of_other(self):
        return (self.other.weight.sum() * 0).square().sqrt()

    def configure_optimizers(self):
        parts = {"one": self.net, "two": self.other}
        return {name: torch.optim.SGD(part.parameters(), lr=0.1, momentum=0.9) for name, part in parts.items()}


@pytest.mark.fault(21, 22)
@pytest.mark.parametrize("bad", [{"nan": [2]}, {"edge": [2]}], ids=str)
def test_of_yielded_losses_the_bad_one_alone_is_left_out(bad):
    by_fit, other = pair(Two)
    data = batches(**bad)
    result, told = skip(by_fit, data)
    seed_all(9)
    optimizers = other.configure_optimizers()
    for number, (x, y) in enumerate(data):
        optimizers["one"].zero_grad()
        F.mse_loss(other.net(x.nan_to_num()), y).backward()
        optimizers["one"].step()
        if number != 2:
            optimizers["two"].zero_grad()
            F.mse_loss(other.other(x), y).backward()
            optimizers["two"].step()
    assert_same(by_fit, other)
    assert (result.state.skipped_steps, result.state.optimizer_steps) == (1, {"one": 7, "two": 6})
    assert "for 'two'" in told[0]


def test_the_first_is_told_of_and_the_sum_at_the_end():
    _, told = skip(pair()[0], batches(nan=[1, 3], edge=[5]), max_epochs=2)
    assert told == [
        "The loss is nan in iteration 2 (epoch 1). Its step is left out (nan='skip'); further ones are counted in "
        "engine.state.skipped_steps.",
        "Left out of the run: 6 steps whose loss or gradients were not finite (nan='skip').",
    ]


def test_a_schedule_does_not_step_for_what_is_left_out():
    class Scheduled(Small):
        def configure_schedulers(self, optimizers):
            return Schedule(torch.optim.lr_scheduler.StepLR(optimizers["main"], 1, gamma=0.5), every="step")

    result, _ = skip(pair(Scheduled)[0], batches(nan=[2], edge=[3]))
    assert result.state.optimizers["main"].param_groups[0]["lr"] == 0.1 * 0.5**5


class Breaks(Net):
    """Its loss is bad in some iterations."""

    at = ()

    def training_step(self, batch, engine):
        loss = super().training_step(batch)
        return loss * float("nan") if engine.state.iteration in self.at else loss


def made(*at):
    seed_all(5)
    module = Breaks()
    module.at = at
    return module


@pytest.mark.fault(16, 21)
@pytest.mark.filterwarnings("ignore:.*nan='skip'")
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_run_that_goes_on_is_the_run_that_never_stopped(tmp_path, accumulate):
    changes = {"nan": "skip", "accumulate": accumulate, "max_epochs": 3}
    whole = fit(tmp_path / "whole", module=made(2, 7), **changes), tmp_path / "whole"
    fit(tmp_path / "run", Does(5, do=stop), module=made(2, 7), **changes)
    ended = go_on(tmp_path / "run", module=made(2, 7), **changes)
    assert_ends_as(whole, tmp_path / "run", ended)
    assert ended[1].state.skipped_steps == whole[0][1].state.skipped_steps == 2
    one, other = (open_checkpoint(result.last_checkpoint).read("run") for _, result in (whole[0], ended))
    assert one["nan_guard"] == other["nan_guard"]


@pytest.mark.fault(21)
@pytest.mark.filterwarnings("ignore:.*nan='skip'")
def test_a_run_that_stopped_goes_on_without_the_bad_step(tmp_path):
    with pytest.raises(NonFiniteError, match=r"The loss is nan in iteration 5 \(epoch 2\)"):
        fit(tmp_path / "run", module=made(5), save_every=Events.ITERATION_COMPLETED(every=2))
    assert checkpoints(tmp_path / "run")[0] == "step-00000004"
    with pytest.raises(ResumeError, match=r"nan: 'stop' in the run, 'skip' now"):
        go_on(tmp_path / "run", module=made(5), nan="skip", save_every=Events.ITERATION_COMPLETED(every=2))
    ended = go_on(tmp_path / "run", module=made(5), nan="skip", allow_changes=("nan",))
    assert_same_end(ended, fit(None, module=made(5), nan="skip"))


@pytest.mark.fault(21)
@pytest.mark.filterwarnings("ignore:.*nan='skip'")
def test_an_epoch_of_nothing_else_is_none(tmp_path):
    with pytest.raises(
        NonFiniteError,
        match=r"All 3 steps of epoch 2 were left out \(nan='skip'\)\. The last: The loss is nan in iteration 6 \(epoch 2\)\. "
        r"Look at .*; clip_norm=1\.0 limits exploding gradients\. debug=True names the first bad module\.",
    ):
        fit(tmp_path, module=made(2, 4, 5, 6), nan="skip")
    assert checkpoints(tmp_path) == ["step-00000003", "step-00000000", "last.json"]


@pytest.mark.filterwarnings("ignore:.*nan='skip'")
def test_a_run_of_nothing_else_is_none():
    with pytest.raises(NonFiniteError, match=r"All 2 steps of the run were left out \(nan='skip'\)\. The last: The loss is nan"):
        pair()[0].fit(batches(nan=[0, 1]), max_iters=2, nan="skip", progress=False)


@pytest.mark.fault(22)
@pytest.mark.filterwarnings("ignore:.*nan='skip'")
def test_too_many_in_a_row_are_no_run():
    module, _ = pair()
    with pytest.raises(NonFiniteError, match=rf"{MOST_IN_A_ROW} steps in a row were left out .* in iteration {MOST_IN_A_ROW + 2} "):
        module.fit(batches(edge=[2]), max_epochs=1, epoch_length=200, handlers=[Repeat()], nan="skip", progress=False)
    assert all(parameter.isfinite().all() for parameter in module.parameters())


class Repeat:
    """Gives the third batch from then on."""

    def on_get_batch_completed(self, engine):
        if engine.state.iteration >= 2:
            self.batch = getattr(self, "batch", engine.state.batch)
            engine.state.batch = self.batch
