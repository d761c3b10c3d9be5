"""A module that a hook puts out of reach of its training."""

import pytest
import torch
from torch import nn

from framework import ModuleError
from framework.engine import Engine
from framework.module.checks.drift import Drift


@pytest.fixture
def module():
    return nn.Sequential(nn.Linear(2, 2), nn.Dropout())


@pytest.fixture
def end(module):
    engine = Engine(lambda engine, batch: None)
    engine.state.epoch = 3
    drift = Drift(module, {"main": torch.optim.SGD(module.parameters(), lr=0.1)}, torch.device("cpu"))
    return lambda: drift.end(engine)


def test_a_module_that_is_as_it_was(module, end):
    end()
    module[1].eval()
    end()


def test_a_module_left_in_eval_mode(module, end):
    module.eval()
    with pytest.raises(ModuleError, match=r"Sequential is in eval mode at the end of epoch 3: .* Call train\(\) after it"):
        end()


def test_a_layer_that_was_replaced(module, end):
    module[0] = nn.Linear(2, 2)
    with pytest.raises(ModuleError, match=r"holds a parameter of shape .* that is not one of Sequential's") as error:
        end()
    (note,) = error.value.__notes__
    assert note.startswith("That was not so when fit began: by the end of epoch 3 a step or a hook has replaced")
    assert note.endswith("Do it before fit.")


def test_optimizers_that_step_copies_from_the_beginning_are_left_alone(module):
    copies = [nn.Parameter(each.detach().clone()) for each in module.parameters()]
    drift = Drift(module, {"main": torch.optim.SGD(copies, lr=0.1)}, torch.device("cpu"))
    drift.end(Engine(lambda engine, batch: None))
    module.eval()
    with pytest.raises(ModuleError, match="is in eval mode"):
        drift.end(Engine(lambda engine, batch: None))
