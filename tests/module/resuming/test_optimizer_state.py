"""Optimizers by the names of their parameters: taken up by fresh ones, in another process."""

import copy

import pytest
import torch
from torch import nn

from framework import ResumeError
from framework.checkpoint import decode, encode
from framework.module.resuming.optimizer_state import dump_optimizer, load_optimizer


class Net(nn.Module):
    def __init__(self, dtype=torch.float32):
        super().__init__()
        self.first = nn.Linear(3, 2, dtype=dtype)
        self.second = nn.Linear(2, 1, dtype=dtype)


def train(module, optimizer, steps):
    """Trains on batches that follow from their number."""
    for step in steps:
        x = torch.randn(4, 3, generator=torch.Generator().manual_seed(step)).to(module.first.weight)

        def loss(x=x):
            optimizer.zero_grad()
            value = module.second(module.first(x).tanh()).square().mean()
            value.backward()
            return value

        optimizer.step(loss)


def stored(module, optimizer):
    """What another process reads of an optimizer."""
    names = {parameter: name for name, parameter in module.named_parameters()}
    return copy.deepcopy(decode(*encode(dump_optimizer(optimizer, names), "optimizer")))


def taken_up(module, optimizer, saved):
    load_optimizer(optimizer, saved, dict(module.named_parameters()), "main")
    return optimizer


MAKERS = {
    "sgd": lambda net: torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9),
    "adam": lambda net: torch.optim.Adam(net.parameters(), lr=0.01, amsgrad=True),
    "groups": lambda net: torch.optim.AdamW([{"params": net.second.parameters(), "lr": 0.1}, {"params": net.first.parameters()}]),
    "lr is a tensor": lambda net: torch.optim.Adam(net.parameters(), lr=torch.tensor(0.01)),
    "lbfgs": lambda net: torch.optim.LBFGS(net.parameters(), max_iter=3, history_size=2),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_an_optimizer_goes_on_in_another_process(make):
    torch.manual_seed(1)
    module = Net()
    optimizer = make(module)
    train(module, optimizer, range(3))
    optimizer.param_groups[0]["lr"] *= 0.5  # as a schedule does
    saved, other = stored(module, optimizer), copy.deepcopy(module)
    fresh = taken_up(other, make(other), saved)
    train(module, optimizer, range(3, 6))
    train(other, fresh, range(3, 6))
    for ours, theirs in zip(module.parameters(), other.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert encoded(stored(other, fresh)) == encoded(stored(module, optimizer))


def encoded(state):
    skeleton, tensors = encode(state, "state")
    return skeleton, {name: (tensor.dtype, tensor.tolist()) for name, tensor in tensors.items()}


def test_the_names_are_those_of_the_groups():
    module = Net()
    assert stored(module, MAKERS["groups"](module))["names"] == [["second.weight", "second.bias"], ["first.weight", "first.bias"]]


def test_tied_weights_have_one_name():
    module = Net()
    module.first.bias = nn.Parameter(torch.zeros(2))
    module.third = module.first
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    assert stored(module, optimizer)["names"] == [["first.weight", "first.bias", "second.weight", "second.bias"]]


def test_groups_that_were_added_in_the_run_are_added_again():
    module = Net()
    optimizer = torch.optim.SGD(module.second.parameters(), lr=0.1, momentum=0.9)
    optimizer.add_param_group({"params": [module.first.weight], "lr": 0.01, "momentum": 0.5})
    optimizer.add_param_group({"params": module.first.bias, "name": "bias"})
    train(module, optimizer, range(2))
    other = copy.deepcopy(module)
    fresh = taken_up(other, torch.optim.SGD(other.second.parameters(), lr=0.3), stored(module, optimizer))
    assert [group["lr"] for group in fresh.param_groups] == [0.1, 0.01, 0.1]
    assert fresh.param_groups[2]["name"] == "bias"
    train(module, optimizer, range(2, 4))
    train(other, fresh, range(2, 4))
    for ours, theirs in zip(module.parameters(), other.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.fault(35)
@pytest.mark.parametrize(
    "order",
    [
        lambda net: [*net.second.parameters(), *net.first.parameters()],
        lambda net: list(net.first.parameters()),
        lambda net: [{"params": list(net.first.parameters())}, {"params": list(net.second.parameters())}],
    ],
    ids=["another order", "fewer", "other groups"],
)
def test_other_parameters_are_refused(order):
    module = Net()
    saved, fresh = stored(module, MAKERS["sgd"](module)), torch.optim.SGD(order(module), lr=0.7)
    words = (
        "The optimizer 'main' holds other parameters, or in another order, than in the run: group 0: .* now, "
        "group 0: first.weight, first.bias, second.weight, second.bias then. Make configure_optimizers return what it returned then"
    )
    with pytest.raises(ResumeError, match=words):
        taken_up(module, fresh, saved)
    assert fresh.param_groups[0]["lr"] == 0.7


def test_long_groups_are_shortened_in_the_message():
    module = nn.ModuleList(nn.Linear(1, 1) for _ in range(3))
    saved = stored(module, torch.optim.SGD(module.parameters()))
    with pytest.raises(ResumeError, match=r"group 0: 0.bias now, group 0: 0.weight, 0.bias, 1.weight, 1.bias, \.\.\. then"):
        load_optimizer(torch.optim.SGD([module[0].bias]), saved, dict(module.named_parameters()), "main")


class Keeps32(torch.optim.Optimizer):
    """Keeps float32 state of bfloat16 parameters, as it is and in containers; and a count of the whole optimizer."""

    def __init__(self, parameters):
        super().__init__(parameters, {"lr": 0.1})

    def step(self, closure=None):
        loss = closure()
        self.state["of all"] = {"steps": self.state.get("of all", {"steps": 0})["steps"] + 1}
        for group in self.param_groups:
            for parameter in group["params"]:
                gradient, state = parameter.grad.float(), self.state[parameter]
                old = state.get("sum", torch.zeros_like(gradient))
                state["sum"] = old + gradient / 3
                state["last"] = [state["sum"].clone(), (gradient / 7, {"bits": gradient.half()})]
                parameter.data -= group["lr"] * state["sum"].to(parameter.dtype)
        return loss


def test_state_of_another_type_than_its_parameter_comes_back_with_its_type():
    module = Net(torch.bfloat16)
    optimizer = Keeps32(module.parameters())
    train(module, optimizer, range(3))
    other = copy.deepcopy(module)
    fresh = taken_up(other, Keeps32(other.parameters()), stored(module, optimizer))
    state = fresh.state[other.first.weight]
    inside = state["last"][1]
    assert [state["sum"].dtype, state["last"][0].dtype, inside[0].dtype, inside[1]["bits"].dtype] == [
        *[torch.float32] * 3,
        torch.float16,
    ]
    assert fresh.state["of all"] == {"steps": 3}
    assert encoded(stored(other, fresh)) == encoded(stored(module, optimizer))
    train(module, optimizer, range(3, 5))
    train(other, fresh, range(3, 5))
    for ours, theirs in zip(module.parameters(), other.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_what_an_optimizer_makes_of_its_state_when_it_loads_stays():
    class Forgets(torch.optim.SGD):
        def load_state_dict(self, state_dict):
            super().load_state_dict(state_dict)
            for state in self.state.values():
                state.pop("momentum_buffer")
                state["new"] = [1]

    module = Net()
    optimizer = MAKERS["sgd"](module)
    train(module, optimizer, range(1))
    fresh = taken_up(module, Forgets(module.parameters(), lr=0.1, momentum=0.9), stored(module, optimizer))
    assert fresh.state[module.first.weight] == {"new": [1]}
