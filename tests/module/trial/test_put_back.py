"""What a dry run changes in objects, and puts back; whole modules are in tests/flows."""

from collections import OrderedDict, defaultdict, deque

import pytest
import torch
from torch import nn

from framework.module.trial.put_back import PutBack, generator_state

CPU = torch.device("cpu")


def remembered(value, device=CPU):
    kept = PutBack(device)
    kept.remember(value)
    return kept


def attributes(**values):
    module = nn.Module()
    for name, value in values.items():
        setattr(module, name, value)
    return module


def test_containers_stay_the_same_objects_and_get_their_content_back():
    held = {
        "a": [1],
        "b": {"x": [1]},
        "c": {1, 2},
        "d": deque([1], maxlen=2),
        "e": defaultdict(list, y=[1]),
        "f": OrderedDict(z=1),
        "g": ([1],),
    }
    module = attributes(**held)
    before = repr(held)
    kept = remembered(module)
    module.a.append(2)
    module.b["x"].append(2)
    module.b["new"] = 1
    module.c.clear()
    module.d.extend([5, 6])
    module.e["y"].append(3)
    module.f.popitem()
    module.g[0].append(2)
    module.a = "another"
    kept.put_back()
    assert repr({name: getattr(module, name) for name in held}) == before
    assert all(getattr(module, name) is value for name, value in held.items())


def test_what_contains_itself_is_remembered_once():
    endless = [1]
    endless.append(endless)
    kept = remembered(endless)
    endless[0] = 2
    kept.put_back()
    assert endless[0] == 1


def test_objects_of_other_types_are_left_alone():
    class Other:
        count = 0

    module = attributes(other=Other())
    kept = remembered(module)
    module.other.count = 5
    kept.put_back()
    assert module.other.count == 5


@pytest.mark.parametrize("make", [lambda: torch.ones(3), lambda: nn.Parameter(torch.ones(3)), lambda: torch.eye(3).to_sparse()])
def test_tensors_get_their_values_back_in_place(make):
    tensor = make()
    before = tensor.detach().clone()
    kept = remembered(tensor)
    with torch.no_grad():
        tensor.mul_(3)
    kept.put_back()
    assert torch.equal(tensor.detach().to_dense(), before.to_dense())


def test_memory_grad_and_need_of_gradients_are_put_back():
    parameter = nn.Parameter(torch.ones(3))
    parameter.grad = gradient = torch.ones(3)
    place = parameter.data_ptr()
    kept = remembered(parameter)
    parameter.grad.mul_(2)
    parameter.grad = None
    parameter.data = torch.zeros(5, dtype=torch.float64)
    parameter.requires_grad_(False)
    kept.put_back()
    assert (parameter.data_ptr(), parameter.dtype, parameter.requires_grad) == (place, torch.float32, True)
    assert torch.equal(parameter.detach(), torch.ones(3))
    assert parameter.grad is gradient
    assert torch.equal(gradient, torch.ones(3))


def test_tensors_of_another_device_keep_their_memory_uncopied():
    layer = nn.Linear(2, 2)
    weight, place = layer.weight, layer.weight.data_ptr()
    kept = remembered(layer, torch.device("meta"))
    layer.to("meta")
    assert layer.weight.device.type == "meta"
    kept.put_back()
    assert layer.weight is weight
    assert layer.weight.data_ptr() == place


def test_lazy_layers_become_lazy_again():
    layer = nn.LazyLinear(2)
    kept = remembered(layer)
    layer(torch.ones(3, 4))
    assert type(layer) is nn.Linear
    kept.put_back()
    assert type(layer) is nn.LazyLinear
    assert nn.parameter.is_lazy(layer.weight)
    layer(torch.ones(3, 5))
    assert layer.weight.shape == (2, 5)


def test_a_lazy_layer_that_was_not_used_stays_so():
    layer = nn.LazyLinear(2)
    remembered(layer).put_back()
    assert nn.parameter.is_lazy(layer.weight)


def test_parameters_that_were_replaced_come_back():
    layer = nn.Linear(2, 2)
    weight = layer.weight
    kept = remembered(layer)
    layer.weight = nn.Parameter(torch.zeros(2, 2))
    nn.utils.parametrizations.weight_norm(layer)
    kept.put_back()
    assert layer.weight is weight
    assert type(layer) is nn.Linear
    assert dict(layer.named_modules()) == {"": layer}


def test_each_thing_is_put_back_whatever_another_raises():
    class Stubborn(nn.Linear):
        def get_extra_state(self):
            return 1

        def set_extra_state(self, state):
            raise OverflowError("no")

    layer = Stubborn(2, 2)
    before = layer.weight.detach().clone()
    kept = remembered(layer)
    nn.init.zeros_(layer.weight)
    with pytest.raises(OverflowError, match="no"):
        kept.put_back()
    assert torch.equal(layer.weight, before)


def test_what_is_no_generator_has_no_state():
    assert generator_state(3) is None


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.* is deprecated")
def test_a_scripted_part_keeps_its_tensors_elsewhere():
    module = attributes(part=torch.jit.script(nn.BatchNorm1d(2)))
    before = {name: each.clone() for name, each in module.state_dict().items()}
    kept = remembered(module)
    with torch.no_grad():
        module.part.weight.zero_()
        module.part(torch.randn(3, 2))
    kept.put_back()
    assert all(torch.equal(each, before[name]) for name, each in module.state_dict().items())
