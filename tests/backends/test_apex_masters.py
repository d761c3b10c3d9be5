"""Apex at level O2: optimizers step float copies of the half weights. The Apex is the fake of fake_apex/."""

import pytest
import torch
from by_hand import ByHand, parts_of
from torch import nn
from torch.nn import functional as F

from framework.backends import Clip
from framework.steps.returned_loss import ReturnedLoss
from framework.steps.step import Place
from framework.steps.yielded_losses import YieldedLosses

SMALL_SCALE = {"loss_scale": 1024.0, "good_steps": 0, "native": {}}  # that does not overflow by itself


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.1)


def by_hand(net):
    return ByHand(net, "fp32", torch.amp.GradScaler("cpu", enabled=False), None)


def weights_of(net):
    return torch.cat([parameter.detach().float().flatten() for parameter in net.parameters()])


@pytest.fixture
def data(batches):
    return [(x, y, 1.0) for x, y in batches]


@pytest.fixture
def copied(net):
    """The same network, to be trained in full precision."""
    made = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    made.load_state_dict(net.state_dict())
    return made


@pytest.fixture
def backend(make_apex):
    return make_apex("legacy", "O2")


def adopted(backend, net, optimizers):
    backend.adopt(net, optimizers, backend.place(net))
    backend.load_state_dict(SMALL_SCALE)
    return optimizers


def step_of(backend, net, optimizer, **options):
    def forward(engine, batch):
        return F.mse_loss(net(batch[0]), batch[1]), None

    return ReturnedLoss(backend, adopted(backend, net, {"main": optimizer}), forward, **options)


def test_the_clip_limits_the_copies_whose_gradients_are_unscaled(backend, net, data):
    optimizer = sgd(net.parameters())
    step = step_of(backend, net, optimizer, clip=Clip(norm=0.01))
    assert list(backend.stepped_parameters(optimizer)) == [master for _, master in optimizer.pairs]
    seen = []
    optimizer.register_step_pre_hook(
        lambda *_: seen.append([torch.cat([p.grad.flatten() for p in ps]).norm() for ps in zip(*optimizer.pairs, strict=True)])
    )
    step.run(None, data[0])
    ((own, master),) = seen
    assert master.item() == pytest.approx(0.01, rel=1e-3)
    assert own.item() == pytest.approx(1024 * step.counter.grad_norms["main"].item(), rel=1e-2)
    assert step.counter.grad_norms["main"] > 0.01


@pytest.mark.parametrize("cut", [False, True])
def test_they_train_as_full_precision_does(backend, net, copied, data, cut):
    places = iter([Place(True, False, 2), Place(False, True, 2), Place(True, False, 2) if cut else Place(True, True, 1)])
    step = step_of(backend, net, sgd(net.parameters()), place=lambda engine: next(places))
    for batch in data[:3]:
        step.run(None, batch)
    if cut:
        step.finish_window()
    by_hand(copied).returned(sgd(copied.parameters()), [data[:2], data[2:3]])
    assert {parameter.dtype for parameter in net.parameters()} == {torch.float16}
    torch.testing.assert_close(weights_of(net), weights_of(copied), rtol=0, atol=2e-3)
    assert step.counter.steps == {"main": 2}


def yielding(backend, net):
    def losses(engine, batch):
        yield ("body",), F.mse_loss(net(batch[0]), batch[1])
        yield ("head",), 0.5 * F.mse_loss(net(batch[0]), batch[1])

    optimizers = {name: sgd(parameters) for name, parameters in parts_of(net).items()}
    return YieldedLosses(backend, adopted(backend, net, optimizers), losses)


def test_several_optimizers_each_for_a_loss(backend, net, copied, data):
    step = yielding(backend, net)
    for batch in data:
        step.run(None, batch)
    hand = by_hand(copied)
    hand.yielded({name: sgd(parameters) for name, parameters in parts_of(copied).items()}, [[batch] for batch in data])
    assert step.counter.steps == hand.steps == {"body": 5, "head": 5}
    torch.testing.assert_close(weights_of(net), weights_of(copied), rtol=0, atol=2e-3)


def test_parameters_frozen_since_are_left_out(backend, net, data):
    step = yielding(backend, net)
    net[0].bias.requires_grad_(False)
    bias, weight = net[0].bias.clone(), net[0].weight.clone()
    step.run(None, data[0])
    assert torch.equal(net[0].bias, bias)
    assert not torch.equal(net[0].weight, weight)


def test_parameters_that_were_frozen_have_no_copies(backend, net, data):
    net[0].bias.requires_grad_(False)
    bias, weight = net[0].bias.clone(), net[0].weight.clone()
    yielding(backend, net).run(None, data[0])
    assert torch.equal(net[0].bias.float(), bias.half().float())
    assert not torch.equal(net[0].weight, weight.half())
