"""A training_step that yields its losses, against the loop a user would write by hand: the same weights, bit for bit."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from framework import Events, ModuleError, NonFiniteError, Plain, Schedule, SettingError, StepError, TrainModule, on, seed_all

SEED, NOISE = 5, 3
pytestmark = pytest.mark.filterwarnings("ignore:fp16 on the CPU is several times slower")
DTYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


class GAN(TrainModule):
    def __init__(self):
        super().__init__()
        self.generator = nn.Sequential(nn.Linear(NOISE, 8), nn.Tanh(), nn.Linear(8, 4))
        self.critic = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.2), nn.Tanh(), nn.Linear(8, 1))

    def training_step(self, batch):
        fake = self.generator(torch.randn(len(batch), NOISE))
        yield "critic", critic_loss(self, batch, fake)
        yield "generator", generator_loss(self, fake)
        return {"spread": fake.std()}

    def configure_optimizers(self):
        return {
            "critic": torch.optim.AdamW(self.critic.parameters(), lr=0.01),
            "generator": torch.optim.SGD(self.generator.parameters(), lr=0.05, momentum=0.9),
        }


def critic_loss(gan, real, fake):
    return F.softplus(gan.critic(fake.detach())).mean() + F.softplus(-gan.critic(real)).mean()


def generator_loss(gan, fake):
    return F.softplus(-gan.critic(fake)).mean()


@pytest.fixture
def batches():
    generator = torch.Generator().manual_seed(2)
    return [torch.randn(8, 4, generator=generator) + 1 for _ in range(7)]


def hand_written(gan, batches, *, accumulate=1, norm=None, precision="fp32"):
    dtype = DTYPES[precision]
    scaler = torch.amp.GradScaler("cpu", enabled=precision == "fp16")
    optimizers = gan.configure_optimizers()
    gan.train()
    for index, batch in enumerate(batches):
        first, last = index % accumulate == 0, (index + 1) % accumulate == 0 or index + 1 == len(batches)
        size = min(accumulate, len(batches) - index // accumulate * accumulate)
        for name, optimizer in optimizers.items():
            if first:
                optimizer.zero_grad()
            kept = {parameter: parameter.grad for parameter in gan.parameters()}
            with torch.autocast("cpu", dtype=dtype, enabled=dtype is not None):
                if name == "critic":
                    fake = gan.generator(torch.randn(len(batch), NOISE))
                    loss = critic_loss(gan, batch, fake)
                else:
                    loss = generator_loss(gan, fake)
            scaler.scale(loss / size if size > 1 else loss).backward(inputs=list(getattr(gan, name).parameters()))
            for parameter in set(kept) - set(getattr(gan, name).parameters()):
                assert parameter.grad is kept[parameter]
            if last:
                if norm is not None:
                    scaler.unscale_(optimizer)
                    nn.utils.clip_grad_norm_(getattr(gan, name).parameters(), norm)
                scaler.step(optimizer)
        if last and scaler.is_enabled():
            scaler.update()


def assert_same(one, other):
    for (name, ours), theirs in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs), name
        assert ours.isfinite().all()


@pytest.mark.parametrize("precision", DTYPES)
@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("norm", [None, 0.1])
def test_the_weights_are_bit_for_bit_those_of_the_hand_written_loop(batches, precision, accumulate, norm):
    seed_all(SEED)
    by_hand = GAN()
    by_fit, start = copy.deepcopy(by_hand), copy.deepcopy(by_hand)
    seed_all(SEED)
    hand_written(by_hand, batches, accumulate=accumulate, norm=norm, precision=precision)
    seed_all(SEED)
    by_fit.fit(batches, max_epochs=1, accumulate=accumulate, clip_norm=norm, precision=precision, accelerator="cpu", progress=False)
    assert_same(by_hand, by_fit)
    assert not any(torch.equal(*pair) for pair in zip(by_fit.parameters(), start.parameters(), strict=True))


def test_losses_and_what_is_returned_are_recorded_by_name(batches):
    outputs = []

    class Watch:
        def on_iteration_completed(self, engine):
            outputs.append(engine.state.output)
            assert engine.state.optimizer_steps == {"critic": len(outputs), "generator": len(outputs)}

    result = GAN().fit(batches, max_epochs=1, handlers=[Watch()], clip_norm=1.0, accelerator="cpu", progress=False)
    assert set(result.metrics) == {"train/loss/critic", "train/loss/generator", "train/spread"}
    assert set(outputs[0]) == {"loss/critic", "loss/generator", "spread"}
    mean = sum(output["loss/critic"].item() for output in outputs) / len(outputs)
    assert result.metrics["train/loss/critic"] == pytest.approx(mean)
    assert not any(value.requires_grad for value in outputs[0].values())
    assert set(result.state.grad_norms) == {"critic", "generator"}


def test_each_schedule_follows_its_own_optimizer(batches):
    class Scheduled(GAN):
        """Trains the generator with every third batch only."""

        def training_step(self, batch, engine):
            fake = self.generator(torch.randn(len(batch), NOISE))
            yield "critic", critic_loss(self, batch, fake)
            if engine.state.iteration % 3 == 0:
                yield "generator", generator_loss(self, fake)

        def configure_schedulers(self, optimizers, total_steps):
            halved = {
                name: Schedule(torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5), every="step")
                for name, optimizer in optimizers.items()
            }
            return {**halved, "epoch": torch.optim.lr_scheduler.ExponentialLR(optimizers["generator"], 0.1)}

    result = Scheduled().fit(batches, max_epochs=1, accelerator="cpu", progress=False)
    assert result.state.optimizer_steps == {"critic": 7, "generator": 2}
    rates = {name: optimizer.param_groups[0]["lr"] for name, optimizer in result.state.optimizers.items()}
    assert rates == {"critic": pytest.approx(0.01 * 0.5**7), "generator": pytest.approx(0.05 * 0.5**2 * 0.1)}


def test_hooks_see_each_optimizer(batches):
    seen = []

    class Hooked(GAN):
        def on_loss_computed(self, loss):
            seen.append("loss")

        def on_optimizer_step_started(self, engine, optimizer):
            own = [name for name, each in engine.state.optimizers.items() if each is optimizer]
            seen.extend(own)
            assert all(parameter.grad is not None for parameter in getattr(self, own[0]).parameters())

        @on(Events.ITERATION_COMPLETED)
        def mark(self):
            seen.append("|")

    Hooked().fit(batches[:2], max_epochs=1, accelerator="cpu", progress=False)
    assert seen == ["loss", "critic", "loss", "generator", "|"] * 2


class Later(Plain):
    """A CPU that is treated as a device on which reading costs a wait."""

    reads_cost_nothing = False


def poisoned(at):
    class Poisoned(GAN):
        def training_step(self, batch, engine):
            fake = self.generator(torch.randn(len(batch), NOISE))
            yield "critic", critic_loss(self, batch, fake)
            if engine.state.iteration == 2:
                yield "critic", critic_loss(self, batch, fake)
            yield "generator", generator_loss(self, fake) * (float("nan") if engine.state.iteration == at else 1.0)

    return Poisoned()


def test_a_loss_that_is_not_finite_names_its_optimizer_and_comes_before_its_step(batches):
    gan = poisoned(at=4)
    with pytest.raises(NonFiniteError, match=r"The loss for 'generator' is nan in iteration 4 \(epoch 1\)"):
        gan.fit(batches, max_epochs=1, accelerator="cpu", progress=False)
    assert all(parameter.isfinite().all() for parameter in gan.parameters())


def test_where_reading_costs_a_wait_it_is_found_at_the_next_reading(batches):
    settings = {"max_epochs": 1, "log_every": 5, "accelerator": Later(torch.device("cpu")), "progress": False}
    with pytest.raises(NonFiniteError, match=r"The loss for 'generator' is nan in iteration 4 \(epoch 1\)"):
        poisoned(at=4).fit(batches, **settings)


def test_several_losses_of_one_optimizer_are_told_apart(batches):
    class Twice(GAN):
        batches = 0

        def training_step(self, batch):
            self.batches += 1
            fake = self.generator(torch.randn(len(batch), NOISE))
            yield "critic", critic_loss(self, batch, fake)
            yield "critic", critic_loss(self, batch, fake) * float("inf" if self.batches == 3 else 1.0)

    settings = {"max_epochs": 1, "log_every": 5, "accelerator": Later(torch.device("cpu")), "progress": False}
    with pytest.raises(NonFiniteError, match=r"The loss for 'critic' is inf in iteration 3 \(epoch 1\)"):
        Twice().fit(batches, **settings)


def test_a_returned_loss_steps_all_optimizers_clipped_together(batches):
    class Both(TrainModule):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(4, 3), nn.Linear(3, 1)

        def training_step(self, batch):
            return self.two(self.one(batch).tanh()).square().mean()

        def configure_optimizers(self):
            return {
                "one": torch.optim.SGD(self.one.parameters(), lr=0.1),
                "two": torch.optim.AdamW(self.two.parameters(), lr=0.1),
            }

    class Yielding(Both):
        def training_step(self, batch):
            yield ("one", "two"), self.two(self.one(batch).tanh()).square().mean()

    by_hand = Both()
    models = [copy.deepcopy(by_hand), Yielding()]
    models[1].load_state_dict(by_hand.state_dict())
    optimizers = by_hand.configure_optimizers()
    for batch in batches:
        for optimizer in optimizers.values():
            optimizer.zero_grad()
        by_hand.training_step(batch).backward()
        nn.utils.clip_grad_norm_(by_hand.parameters(), 0.05)
        for optimizer in optimizers.values():
            optimizer.step()
    for model in models:
        model.fit(batches, max_epochs=1, clip_norm=0.05, accelerator="cpu", progress=False)
        assert_same(by_hand, model)


@pytest.mark.parametrize(
    ("yielded", "words"),
    [
        (lambda self, batch: ("critics", batch.mean()), "got the name 'critics'. The optimizers are 'critic', 'generator'."),
        (lambda self, batch: self.critic(batch).mean(), r"training_step should yield \(name, loss\).*got a Tensor."),
        (lambda self, batch: ("critic", batch.mean()), "got a loss without gradients"),
        (lambda self, batch: ("generator", self.critic(batch).mean()), "depends on none of that optimizer's parameters"),
    ],
)
def test_what_is_wrong_with_a_yield_is_said(batches, yielded, words):
    class Wrong(GAN):
        def training_step(self, batch):
            yield yielded(self, batch)

    with pytest.raises(StepError, match=words):
        Wrong().fit(batches, max_epochs=1, accelerator="cpu", progress=False)


def test_what_cannot_go_with_yields_is_refused_before_a_batch_is_read():
    class Closure(GAN):
        def configure_optimizers(self):
            return {"critic": torch.optim.LBFGS(self.critic.parameters())}

    def unread():
        raise AssertionError("a batch was read")
        yield

    with pytest.raises(ModuleError, match="yields its losses, but the optimizer 'critic' needs a closure"):
        Closure().fit(unread, max_epochs=1, accelerator="cpu")
    with pytest.raises(SettingError, match=r"compile=True: GAN.training_step yields its losses, which cannot be compiled"):
        GAN().fit(unread, max_epochs=1, accelerator="cpu", compile=True)


def test_the_result_of_a_generator_is_a_mapping_or_nothing(batches):
    class Wrong(GAN):
        def training_step(self, batch):
            yield "critic", self.critic(batch).mean()
            return 3

    with pytest.raises(StepError, match=r"should return nothing or a mapping of other scalars; got 3 \(int\)"):
        Wrong().fit(batches, max_epochs=1, accelerator="cpu", progress=False)
