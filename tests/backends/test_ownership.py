"""Optimizers that were made before the model moved. torch can be told to make new parameters then, as torch_xla always does."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from framework import ModuleError, Plain
from framework.backends.ownership import move_model, parameters_of, rebind, refuse_foreign

CPU, META = torch.device("cpu"), torch.device("meta")
OPTIMIZERS = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9),
    "adam": lambda parameters: torch.optim.Adam(parameters, lr=0.01),
    "adam-fused": lambda parameters: torch.optim.Adam(parameters, lr=0.01, fused=True),
    "lbfgs": lambda parameters: torch.optim.LBFGS(parameters, lr=0.5, max_iter=3),
}
each_optimizer = pytest.mark.parametrize("make_optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)


@pytest.fixture
def new_parameters():
    """Makes `model.to` replace every parameter, on the CPU as well."""
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    yield
    torch.__future__.set_overwrite_module_params_on_conversion(False)


def train(net, optimizer, batches):
    for x, y in batches:

        def closure(x=x, y=y):
            optimizer.zero_grad()
            loss = F.mse_loss(net(x), y)
            loss.backward()
            return loss

        optimizer.step(closure)


def weights_of(net):
    return torch.cat([parameter.detach().flatten() for parameter in net.parameters()]).clone()


@pytest.mark.usefixtures("new_parameters")
@pytest.mark.parametrize("steps_before", [0, 2])
@each_optimizer
def test_training_goes_on_with_the_new_parameters_and_the_old_state(net, batches, make_optimizer, steps_before):
    still = copy.deepcopy(net)
    optimizer, expected = make_optimizer(net.parameters()), make_optimizer(still.parameters())
    train(net, optimizer, batches[:steps_before])
    before = list(net.parameters())
    replaced = move_model(net, CPU)
    assert list(replaced) == before
    assert list(replaced.values()) == list(net.parameters())
    assert not any(new is old for old, new in replaced.items())

    rebind((optimizer,), replaced, CPU)
    refuse_foreign(net, {"main": optimizer}, CPU)
    train(net, optimizer, batches[steps_before:])
    train(still, expected, batches)
    assert torch.equal(weights_of(net), weights_of(still))


@pytest.mark.usefixtures("new_parameters")
def test_the_list_of_parameters_stays_the_same_object(net):
    optimizer = torch.optim.LBFGS(net.parameters())
    held = optimizer.param_groups[0]["params"]
    rebind((optimizer,), move_model(net, CPU), CPU)
    assert optimizer.param_groups[0]["params"] is optimizer._params is held
    assert list(parameters_of((optimizer,))) == list(net.parameters())


@pytest.mark.usefixtures("new_parameters")
def test_settings_of_groups_stay(net):
    groups = [{"params": net[0].parameters(), "lr": 0.5}, {"params": net[2].parameters(), "weight_decay": 0.25}]
    optimizer = torch.optim.SGD(groups, lr=0.125)
    rebind((optimizer,), move_model(net, CPU), CPU)
    assert [(group["lr"], group["weight_decay"]) for group in optimizer.param_groups] == [(0.5, 0), (0.125, 0.25)]
    assert optimizer.param_groups[1]["params"] == [net[2].weight, net[2].bias]


def tied_model():
    model = nn.ModuleDict({"encode": nn.Linear(3, 3, bias=False), "decode": nn.Linear(3, 3, bias=False), "own": nn.Linear(3, 3)})
    model["decode"].weight = model["encode"].weight
    return model


@pytest.mark.usefixtures("new_parameters")
@pytest.mark.parametrize("device", [CPU, META], ids=str)
def test_tied_parameters_stay_tied(device):
    model = tied_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    replaced = move_model(model, device)
    assert model["decode"].weight is model["encode"].weight
    assert len(replaced) == 3
    rebind((optimizer,), replaced, device)
    refuse_foreign(model, {"main": optimizer}, device)
    assert list(parameters_of((optimizer,))) == list(model.parameters())


@pytest.mark.usefixtures("new_parameters")
def test_a_module_used_twice_stays_one():
    layer = nn.Linear(2, 2)
    model = nn.Sequential(layer, nn.ReLU(), layer)
    assert len(move_model(model, META)) == 2
    assert model[0].weight is model[2].weight
    assert model[0].weight.device == META


@pytest.mark.parametrize("layers", [1, 2])
def test_parameters_without_numbers_are_refused(layers):
    model = nn.Sequential(*(nn.Linear(2, 2, device="meta") for _ in range(layers)))
    names = "0.weight, 0.bias" if layers == 1 else "0.weight, 0.bias, 1.weight, ..."
    with pytest.raises(ModuleError) as error:
        move_model(model, CPU)
    assert str(error.value) == (
        f"{2 * layers} parameters of Sequential are on the meta device, where they have no numbers: {names}. Make the module "
        "outside of torch.device('meta'); or call to_empty(device='cpu') and fill in the weights before fit."
    )
    move_model(model.to_empty(device="cpu"), CPU)


@pytest.mark.usefixtures("new_parameters")
def test_parameters_in_lists_and_frozen_ones_move_too():
    class Listed(nn.Module):
        def __init__(self):
            super().__init__()
            self.several = nn.ParameterList([torch.ones(2), torch.ones(3)])
            self.frozen = nn.Parameter(torch.ones(1), requires_grad=False)

    model = Listed()
    replaced = move_model(model, META)
    assert list(replaced.values()) == [model.frozen, *model.several]
    assert [parameter.requires_grad for parameter in model.parameters()] == [False, True, True]


def test_a_move_that_keeps_parameters_replaces_none(net):
    before = list(net.parameters())
    assert move_model(net, CPU) == {}
    assert all(new is old for new, old in zip(net.parameters(), before, strict=True))


def test_an_optimizer_that_is_right_already_is_left_alone(net, batches):
    optimizer = torch.optim.Adam(net.parameters())
    train(net, optimizer, batches[:1])
    group, state = optimizer.param_groups[0], optimizer.state
    rebind((optimizer,), {}, CPU)
    assert optimizer.param_groups[0] is group
    assert optimizer.state is state


def test_state_that_was_left_elsewhere_is_fetched():
    weight = nn.Parameter(torch.ones(2, device=META))
    optimizer = torch.optim.Adam([weight])
    optimizer.state[weight] = {"step": torch.tensor(3.0), "exp_avg": torch.ones(2), "exp_avg_sq": torch.ones(2)}
    rebind((optimizer,), {}, META)
    assert [optimizer.state[weight][name].device for name in ("exp_avg", "exp_avg_sq")] == [META, META]
    assert optimizer.state[weight]["step"] == 3.0


@pytest.mark.usefixtures("new_parameters")
def test_a_backend_does_all_of_it(net, batches):
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    backend = Plain(CPU)
    backend.adopt(net, {"main": optimizer}, backend.place(net))
    before = weights_of(net)
    train(net, optimizer, batches)
    assert not torch.equal(weights_of(net), before)


def test_parameters_are_told_once_each_in_the_optimizers_order():
    first, second = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
    one, other = torch.optim.SGD([second, first], lr=0.1), torch.optim.SGD([first], lr=0.1)
    assert list(parameters_of([one, other])) == [second, first]


def refusal(model, device=CPU, **optimizers):
    with pytest.raises(ModuleError) as error:
        refuse_foreign(model, optimizers, device)
    return str(error.value)


@pytest.mark.usefixtures("new_parameters")
def test_an_optimizer_that_was_not_bound_anew_is_refused(net):
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    move_model(net, CPU)
    assert "(SGD) holds a parameter of shape (8, 4) that is not one of Sequential's" in refusal(net, main=optimizer)


def test_parameters_of_others_are_refused():
    model = nn.Linear(2, 3)
    foreign = torch.optim.Adam([*model.parameters(), nn.Parameter(torch.ones(5, 2))])
    assert refusal(model, main=foreign) == (
        "Optimizer 'main' (Adam) holds a parameter of shape (5, 2) that is not one of Linear's. Make the optimizer in "
        "configure_optimizers from self.parameters(); a module kept in a list or dict is not registered: use nn.ModuleList or "
        "nn.ModuleDict."
    )


def test_a_parameter_of_two_optimizers_is_refused():
    model = nn.Linear(2, 3)
    one, other = torch.optim.SGD(model.parameters(), lr=0.1), torch.optim.SGD([model.bias], lr=0.1)
    assert refusal(model, one=one, other=other) == (
        "Optimizers 'one' and 'other' both hold the parameter of shape (3,); it would be updated twice. "
        "Give each its own parameters."
    )


def test_parameters_elsewhere_are_refused():
    model = nn.Linear(2, 3, device="meta")
    assert refusal(model, main=torch.optim.SGD(model.parameters(), lr=0.1)) == (
        "Optimizer 'main' holds a parameter on meta, the step runs on cpu. "
        "Leave moving to fit: remove .to(...) and .cuda() from the module."
    )


def test_a_lazy_parameter_has_no_shape_and_needs_none():
    model = nn.LazyLinear(2)
    refuse_foreign(model, {"main": torch.optim.SGD(model.parameters(), lr=0.1)}, torch.device("cpu"))
