"""fit through torch_xla gives the losses and weights of fit on the CPU: the float32 rounding of other kernels apart."""

import pytest
import torch
from on_both import Net, curve, difference, on_both, weights
from torch import nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LinearLR

from framework import Schedule

OPTIMIZERS = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=0.01),
}


def assert_same(pairs, names=("train/loss",), tolerance=1e-6):
    (cpu, on_cpu), (xla, on_xla) = pairs
    assert xla.device.type == "xla"
    assert on_cpu.history[-1]["iteration"] == on_xla.history[-1]["iteration"]
    for name in names:
        assert difference(curve(on_xla, name), curve(on_cpu, name)) < tolerance
    assert difference(weights(xla), weights(cpu)) < tolerance


@pytest.mark.parametrize("make_optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_forty_steps(make_optimizer, make_batches):
    assert_same(on_both(Net(make_optimizer), make_batches(20, last=5), max_epochs=2))


@pytest.mark.parametrize("make_optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_accumulation_with_a_remainder_clipping_and_a_schedule(make_optimizer, make_batches):
    class Scheduled(Net):
        def configure_schedulers(self, optimizers, total_steps):
            return Schedule(LinearLR(optimizers["main"], total_iters=total_steps), every="step")

    assert_same(on_both(Scheduled(make_optimizer), make_batches(20), max_epochs=2, accumulate=3, clip_norm=0.5, clip_value=0.2))


def test_sums_over_counts_that_lie_on_the_device(make_batches):
    class Tokens(Net):
        def training_step(self, batch):
            x, y = batch
            mask = x[:, 0] > 0
            return {"loss": (F.mse_loss(self(x), y, reduction="none").mean(1) * mask).sum(), "n": mask.sum()}

    assert_same(on_both(Tokens(), make_batches(12), max_epochs=2, accumulate=4))


def test_bf16(make_batches):
    dtypes = set()

    class Looks(Net):
        def forward(self, x):
            output = super().forward(x)
            dtypes.add((x.device.type, output.dtype))
            return output

    pairs = on_both(Looks(), make_batches(20), max_epochs=2, precision="bf16")
    assert dtypes == {("cpu", torch.bfloat16), ("xla", torch.bfloat16)}
    assert_same(pairs, tolerance=0.03)


def test_several_optimizers_step_on_the_losses_that_are_yielded(make_batches):
    class Gan(Net):
        def __init__(self):
            super().__init__()
            self.critic = nn.Linear(2, 1)

        def training_step(self, batch):
            x, y = batch
            yield "critic", F.softplus(self.critic(self(x).detach())).mean() + F.softplus(-self.critic(y)).mean()
            yield "maker", F.softplus(-self.critic(self(x))).mean()

        def configure_optimizers(self):
            return {"maker": torch.optim.Adam(self.layers.parameters()), "critic": torch.optim.Adam(self.critic.parameters())}

    assert_same(on_both(Gan(), make_batches(20), max_epochs=1), ("train/loss/critic", "train/loss/maker"))


def test_lbfgs(make_batches):
    class Line(Net):
        def __init__(self):
            super().__init__(lambda parameters: torch.optim.LBFGS(parameters, lr=0.1, max_iter=3))
            self.layers = nn.Linear(4, 2)

    assert_same(on_both(Line(), make_batches(1), max_epochs=2), tolerance=1e-5)


def test_an_optimizer_made_before_the_model_moved(make_batches):
    class Early(Net):
        def __init__(self, make_optimizer):
            super().__init__(make_optimizer)
            self.optimizer = make_optimizer(self.parameters())

        def configure_optimizers(self):
            return self.optimizer

    for make_optimizer in OPTIMIZERS.values():
        module = Early(make_optimizer)
        before = weights(module)
        pairs = on_both(module, make_batches(5), max_epochs=2)
        assert_same(pairs)
        assert difference(weights(pairs[1][0]), before) > 1e-3


def test_tied_weights_stay_tied(make_batches):
    class Tied(Net):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4), nn.Linear(4, 2))
            self.layers[2].weight = self.layers[0].weight

    pairs = on_both(Tied(), make_batches(10), max_epochs=2)
    assert_same(pairs)
    xla = pairs[1][0]
    assert xla.layers[2].weight is xla.layers[0].weight
    xla.evaluate(make_batches(1), accelerator="cpu")
    assert xla.layers[2].weight is xla.layers[0].weight
    assert xla.device.type == "cpu"
