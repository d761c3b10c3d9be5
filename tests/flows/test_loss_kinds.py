"""Losses that are sums, losses computed several times a step, and compiled steps, against the hand-written loop."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from framework import ModuleError, SettingError, StepError, TrainModule, seed_all


class Net(TrainModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2))

    def training_step(self, batch):
        x, y = batch
        self.log("logged", x.mean())
        return F.cross_entropy(self.net(x), y)

    def evaluation_step(self, batch):
        x, y = batch
        self.log("size", len(x))
        return {"loss": F.cross_entropy(self.net(x), y)}

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


@pytest.fixture
def batches():
    generator = torch.Generator().manual_seed(4)
    sizes = [8, 8, 4, 8, 2, 8, 8]
    return [(torch.randn(n, 4, generator=generator), torch.randint(2, (n,), generator=generator)) for n in sizes]


@pytest.fixture
def pair():
    """Makes two modules of a class with the same weights."""

    def make(cls):
        seed_all(3)
        one = cls()
        return one, copy.deepcopy(one)

    return make


def fit(module, batches, **settings):
    return module.fit(batches, **{"max_epochs": 1, "accelerator": "cpu", "progress": False, **settings})


def assert_same(one, other, **tolerance):
    for ours, theirs in zip(one.parameters(), other.parameters(), strict=True):
        if tolerance:
            torch.testing.assert_close(ours, theirs, **tolerance)
        else:
            assert torch.equal(ours, theirs)


class Summed(Net):
    def training_step(self, batch):
        x, y = batch
        return {"loss": F.cross_entropy(self.net(x), y, reduction="sum"), "n": len(x)}


def test_a_window_of_sums_has_the_gradient_of_one_large_batch(batches, pair):
    summed, large = pair(Summed)
    result = fit(summed, batches, accumulate=3, clip_norm=0.5)
    optimizer = large.configure_optimizers()
    losses = []
    for window in (batches[:3], batches[3:6], batches[6:]):
        optimizer.zero_grad()
        x, y = (torch.cat(part) for part in zip(*window, strict=True))
        loss = F.cross_entropy(large.net(x), y)
        losses.append((loss.item(), len(x)))
        loss.backward()
        nn.utils.clip_grad_norm_(large.parameters(), 0.5)
        optimizer.step()
    assert_same(summed, large, rtol=1e-5, atol=1e-7)
    mean = sum(loss * n for loss, n in losses) / sum(n for _, n in losses)
    assert result.metrics["train/loss"] == pytest.approx(mean, rel=1e-5)


def test_without_accumulation_a_sum_over_its_count_is_the_mean(batches, pair):
    summed, by_hand = pair(Summed)
    result = fit(summed, batches)
    optimizer = by_hand.configure_optimizers()
    for batch in batches:
        optimizer.zero_grad()
        returned = by_hand.training_step(batch)
        (returned["loss"] / returned["n"]).backward()
        optimizer.step()
    assert_same(summed, by_hand)
    assert "train/n" not in result.metrics


class Closure(Net):
    def configure_optimizers(self):
        return torch.optim.LBFGS(self.parameters(), lr=0.5, max_iter=3)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_lbfgs_trains_as_in_the_hand_written_loop(batches, pair, precision):
    by_fit, by_hand = pair(Closure)
    result = fit(by_fit, batches, precision=precision, clip_norm=1.0)
    optimizer, firsts = by_hand.configure_optimizers(), []
    for x, y in batches:
        losses = []

        def closure(x=x, y=y, losses=losses):
            optimizer.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
                loss = F.cross_entropy(by_hand.net(x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(by_hand.parameters(), 1.0)
            losses.append(loss.item())
            return loss

        optimizer.step(closure)
        firsts.append(losses[0])
    assert_same(by_fit, by_hand)
    sizes = [len(x) for x, _ in batches]
    mean = sum(loss * n for loss, n in zip(firsts, sizes, strict=True)) / sum(sizes)
    assert result.metrics["train/loss"] == pytest.approx(mean, rel=1e-9)
    logged = sum(x.mean().item() * len(x) for x, _ in batches) / sum(sizes)
    assert result.metrics["train/logged"] == pytest.approx(logged)
    assert result.state.optimizer_steps == {"main": 7}


@pytest.mark.filterwarnings("ignore:fp16 on the CPU")
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"accumulate": 2}, r"accumulate=2 does not allow. Leave accumulate out"),
        ({"precision": "fp16"}, r"the gradient scaler of amp in fp16 does not allow. Use precision='fp32' or 'bf16'"),
    ],
)
def test_what_cannot_go_with_a_closure_is_refused(batches, settings, words):
    with pytest.raises(SettingError, match=rf"The optimizer 'main' \(LBFGS\) needs a closure.*{words}"):
        fit(Closure(), batches, **settings)


def test_an_optimizer_with_a_closure_is_alone(batches):
    class Two(Net):
        def configure_optimizers(self):
            first, *_, last = self.net
            return {"a": torch.optim.LBFGS(first.parameters()), "b": torch.optim.SGD(last.parameters(), lr=0.1)}

    with pytest.raises(ModuleError, match=r"The optimizer 'a' \(LBFGS\) needs a closure.*has to be the only one; got 'a', 'b'"):
        fit(Two(), batches)


def test_an_optimizer_made_before_fit_and_used_before_goes_on(batches, pair):
    class Own(Net):
        def __init__(self):
            super().__init__()
            self.optimizer = torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)

        def configure_optimizers(self):
            return self.optimizer

    seed_all(3)
    own = Own()
    twice, _ = pair(Net)
    for _ in range(2):
        fit(own, batches)
    optimizer = twice.configure_optimizers()
    for x, y in batches * 2:
        optimizer.zero_grad()
        F.cross_entropy(twice.net(x), y).backward()
        optimizer.step()
    assert_same(own, twice)


EAGER_BACKEND = {"backend": "aot_eager"}  # traces and compiles for real, and leaves out the minute that generating code takes


def test_a_compiled_step_trains_as_the_plain_one(batches, pair):
    same_size = [batch for batch in batches if len(batch[0]) == 8]
    compiled, plain = pair(Net)
    frames = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    results = [fit(compiled, same_size, val_data=same_size, compile=EAGER_BACKEND), fit(plain, same_size, val_data=same_size)]
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > frames
    assert_same(compiled, plain, rtol=1e-6, atol=1e-7)
    assert compiled.state_dict().keys() == plain.state_dict().keys()
    assert results[0].metrics == pytest.approx(results[1].metrics)
    assert set(results[0].metrics) == {"train/loss", "train/logged", "val/loss", "val/size"}
    assert compiled.evaluate(same_size, accelerator="cpu") == pytest.approx(plain.evaluate(same_size, accelerator="cpu"))


def test_a_compiled_step_may_take_the_engine(batches):
    class WithEngine(Net):
        def training_step(self, batch, engine):
            assert engine.state.epoch == 1
            return super().training_step(batch)

    assert fit(WithEngine(), batches[:1], compile=EAGER_BACKEND).state.iteration == 1


def test_hooks_of_a_closure_see_its_gradients_and_log_once(batches):
    class Hooked(Closure):
        calls = 0

        def on_loss_computed(self, loss):
            self.calls += 1
            self.log("seen", loss.detach())

        def on_optimizer_step_started(self, optimizer):
            for parameter in self.parameters():
                parameter.grad.zero_()

    model = Hooked()
    before = copy.deepcopy(model)
    result = fit(model, batches)
    assert_same(model, before)
    assert model.calls >= len(batches)
    assert result.metrics["train/seen"] == pytest.approx(result.metrics["train/loss"])


def test_a_delegated_generator_is_explained(batches):
    class Delegating(Net):
        def steps(self, batch):
            yield "main", self.net(batch[0]).mean()

        def training_step(self, batch):
            return self.steps(batch)

    with pytest.raises(StepError, match=r"got a generator. To pass its losses on write `yield from`"):
        fit(Delegating(), batches)
