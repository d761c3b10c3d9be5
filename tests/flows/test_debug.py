"""debug=True: what is planted is named, and nothing else is changed."""

import copy
import re

import pytest
import torch
from faulty_runs import Does, Net as Noisy, assert_ends_as, assert_same_end, checkpoints, fit, go_on
from torch import nn
from torch.nn import functional as F

from framework import NonFiniteError, Plain, SettingError, TrainModule, seed_all

pytestmark = pytest.mark.usefixtures("quick_disk")
FP16 = "ignore:fp16 on the CPU is several times slower"


class Late(Plain):
    """A CPU on which reading a number would make something wait, as on a GPU."""

    reads_cost_nothing = False


class Log(nn.Module):
    def forward(self, x):
        return torch.log(x.abs())


class Root(nn.Module):
    def forward(self, x):
        return x.abs().sqrt()


class Frozen(nn.BatchNorm1d):
    def train(self, mode=True):
        return super().train(False)


class Net(TrainModule):
    def __init__(self, *parts):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 3), *parts)

    def training_step(self, batch, engine):
        x, y = batch
        return self.loss(self.net(x + 0.1 * torch.randn_like(x)), y, engine.state.iteration)

    def loss(self, output, y, iteration):
        return F.mse_loss(output, y)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


class Ratio(Net):
    def loss(self, output, y, iteration):
        distance = F.mse_loss(output, y)
        return distance if iteration < 2 else (distance - distance) / torch.zeros(())


class Masked(Net):
    """Its first value that is not finite does no harm."""

    def loss(self, output, y, iteration):
        shares = output.masked_fill(torch.tensor([True, False, False]), -torch.inf).softmax(-1)
        return shares.square().mean() + (shares[:, :1].log().mean() if iteration == 2 else 0.0)


class Stateful(Net):
    def training_step(self, batch, engine):
        self.seen = torch.full((4,), float("nan")) if engine.state.iteration == 2 else torch.zeros(4)
        return super().training_step((batch[0] + self.seen, batch[1]), engine)


class Hooked(Net):
    def on_backward_completed(self, engine):
        if engine.state.iteration == 2:
            self.net[0].bias.grad.fill_(float("inf"))


class Pair(Net):
    """Two losses; the second is bad in the second iteration."""

    def __init__(self):
        super().__init__(nn.Linear(3, 3))

    def training_step(self, batch, engine):
        yield "one", self.net[0](batch[0]).square().mean()
        loss = self.net[1](self.net[0](batch[0]).detach()).square().mean()
        yield "two", loss if engine.state.iteration < 2 else self.bad(loss)

    def bad(self, loss):
        return loss + (loss - loss).log()

    def configure_optimizers(self):
        return {name: torch.optim.SGD(self.net[place].parameters(), lr=0.1) for name, place in (("one", 0), ("two", 1))}


class PairWithBadGradients(Pair):
    def bad(self, loss):
        return (loss - loss).sqrt()


def fill(name, value):
    """A planter that fills a parameter or buffer of a module."""

    def plant(module):
        with torch.no_grad():
            dict([*module.named_parameters(), *module.named_buffers()])[name].flatten()[1] = value

    return plant


def silence(module):
    """Makes the first layer give 0."""
    for parameter in module.net[0].parameters():
        parameter.data.zero_()


def nothing(module):
    """Plants nothing."""


def batches(place=None, value=0.0):
    generator = torch.Generator().manual_seed(4)
    data = [(torch.rand(8, 4, generator=generator), torch.rand(8, 3, generator=generator)) for _ in range(4)]
    if place is not None:
        data[1][place][3, 2] = value
    return data


def told(module, plant=nothing, data=None, **settings):
    """Plants after the first iteration, and returns what the second says; the weights have to be those before it."""
    before = {}

    def keep(engine):
        plant(module)
        before.update({name: value.clone() for name, value in module.state_dict().items()})

    settings = {"accelerator": "cpu", "debug": True, "progress": False, "max_epochs": 1, "handlers": [Does(1, do=keep)], **settings}
    with pytest.raises(NonFiniteError, match=r"in iteration 2 \(epoch 1\)") as caught:
        module.fit(data or batches(), **settings)
    changed = [
        name for name, value in module.state_dict().items() if not torch.equal(value.nan_to_num(), before[name].nan_to_num())
    ]
    assert changed == (
        ["net.0.weight", "net.0.bias"] if isinstance(module, Pair) else []
    )  # the first loss of the batch has stepped
    text = str(caught.value)
    assert "The weights are those before the step. Look at the learning rate" in text
    assert "debug=True" not in text
    return text


FIRST = "Run again, the step made the first value that is not finite in the operation"
PLANTED = {
    "log of 0 in a submodule": (lambda: Net(Log()), silence, {}, rf"{FIRST} log in net\.1 \(Log\), line \d+ of test_debug\.py "),
    "0/0 in the loss": (
        Ratio,
        nothing,
        {},
        rf"The loss is nan in .*{FIRST} div in Ratio\.training_step, outside of its submodules, .*`return distance if",
    ),
    "a mask that does no harm": (Masked, nothing, {}, rf"{FIRST} log in Masked\.training_step, outside"),
    "an infinite input": (
        Net,
        nothing,
        {"data": batches(0, float("inf"))},
        r"The loss is inf in .* Run again, the step was given batch\[0\], in which 1 of 32 entries are not finite\.",
    ),
    "a target that is NaN": (Net, nothing, {"data": batches(1, float("nan"))}, r"given batch\[1\], in which 1 of 24 entries"),
    "a parameter that is NaN": (
        Net,
        fill("net.0.weight", float("nan")),
        {},
        r"Run again, the step used the parameter net\.0\.weight, in which 1 of 12 entries are not finite\.",
    ),
    "a buffer that is infinite": (
        lambda: Net(Frozen(3)),
        fill("net.1.running_mean", float("inf")),
        {},
        r"Run again, the step used the buffer net\.1\.running_mean, in which 1 of 3 entries are not finite\.",
    ),
    "a tensor of nobody": (
        Stateful,
        nothing,
        {},
        rf"{FIRST} full in Stateful\.training_step",
    ),
    "the gradient of a root of 0": (
        lambda: Net(Root()),
        silence,
        {},
        r"The gradients of 2 of 2 parameters are not finite in iteration 2 \(epoch 1\), the first is that of net\.0\.weight; the "
        r"loss is finite\. Run again, the step made the first gradient that is not finite in SqrtBackward0 in net\.1 \(Root\), the "
        r"backward of line \d+ of test_debug\.py \(`return x\.abs\(\)\.sqrt\(\)`\)\.",
    ),
    "a hook": (
        Hooked,
        nothing,
        {},
        r"gradients of 1 of 2 .* that of net\.0\.bias; .* Run again, the step did not show it: .* a hook",
    ),
    "a yielded loss": (
        Pair,
        nothing,
        {},
        r"The loss for .two. is -inf .* Run again \(with the weights that the losses before it have stepped\), the step made the "
        r"first value that is not finite in the operation log in Pair\.training_step",
    ),
    "gradients of a yielded loss": (
        PairWithBadGradients,
        nothing,
        {},
        r"The gradients for 'two' of 2 of 2 parameters are not .* that of net\.1\.weight; .* in SqrtBackward0, the backward",
    ),
}


@pytest.mark.fault(21, 22)
@pytest.mark.parametrize("settings", [{}, {"accelerator": Late(torch.device("cpu"))}], ids=["cpu", "late"])
@pytest.mark.parametrize("name", PLANTED)
def test_what_is_planted_is_named(name, settings):
    make, plant, data, words = PLANTED[name]
    seed_all(5)
    text = told(make(), plant, **data, **settings)
    assert re.search(words, text), text


@pytest.mark.fault(21)
@pytest.mark.filterwarnings(FP16)
def test_an_overflow_of_half_precision_is_named():
    def plant(module):
        module.net[0].bias.data.fill_(3.0)
        module.net[1].weight.data.fill_(6e4)

    seed_all(5)
    text = told(Net(nn.Linear(3, 3)), plant, precision="fp16")
    assert re.search(rf"{FIRST} addmm in net\.1 \(Linear\), line", text), text


def test_in_a_window_the_gradients_of_each_batch_are_judged():
    seed_all(5)
    module = Net(Root())
    silence(module)
    with pytest.raises(NonFiniteError, match=r"in iteration 1 \(epoch 1\).*SqrtBackward0 in net\.1 \(Root\)"):
        module.fit(batches(), max_epochs=1, accumulate=3, debug=True, progress=False)


def test_the_same_bits_without_anything_bad(tmp_path):
    plain = fit(tmp_path / "plain", accumulate=2), tmp_path / "plain"
    assert_ends_as(plain, tmp_path / "debug", fit(tmp_path / "debug", accumulate=2, debug=True))
    assert_ends_as(plain, tmp_path / "both", fit(tmp_path / "both", accumulate=2, debug=True, nan="skip", allow_changes=()))


class Breaks(Noisy):
    def training_step(self, batch, engine):
        loss = super().training_step(batch)
        return loss / 0 if engine.state.iteration == 5 else loss


@pytest.mark.fault(21)
def test_the_same_command_again_names_it_from_the_checkpoint_before(tmp_path):
    with pytest.raises(
        NonFiniteError, match=r"The loss is inf in iteration 5 \(epoch 2\)\..*debug=True names the first bad module"
    ):
        fit(tmp_path, module=Breaks())
    assert checkpoints(tmp_path)[0] == "step-00000003"
    with pytest.raises(
        NonFiniteError, match=r"The loss is inf in iteration 5 \(epoch 2\)\. Run again, the step made .* operation div in"
    ):
        go_on(tmp_path, module=Breaks(), debug=True)


@pytest.mark.filterwarnings("ignore:.*nan='skip'")
def test_what_is_left_out_is_named_once_and_the_run_is_as_without(tmp_path):
    seed_all(5)
    one = Breaks()
    other = copy.deepcopy(one)
    with pytest.warns(
        UserWarning, match=r"iteration 5 \(epoch 2\)\. Run again, the step made .* operation div .* Its step is left out"
    ):
        ended = fit(None, module=one, nan="skip", debug=True)
    assert_same_end(ended, fit(None, module=other, nan="skip"))


def test_nothing_is_looked_for_that_is_ignored():
    with pytest.raises(
        SettingError, match=r"debug=True looks for what nan='ignore' trains on with\. Give nan='stop' or nan='skip'"
    ):
        Net().fit(batches(), max_epochs=1, nan="ignore", debug=True)
