import pytest
import torch
from torch import nn

from framework.module.non_finite.module_calls import watched_calls


class Raises(nn.Module):
    def forward(self, x, *, scale):
        raise ArithmeticError(scale)


class Outer(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.ReLU())
        self.bad = Raises()

    def forward(self, x):
        x = self.inner(x)
        try:
            return self.bad(x, scale=2)
        except ArithmeticError:
            return x


def test_calls_are_told_from_the_outside_in_and_back():
    told, module = [], Outer()
    x = torch.ones(1)
    with watched_calls(module, lambda *what: told.append(("in", *what)), lambda *what: told.append(("out", *what))):
        y = module(x)
    module(x)
    assert told == [
        ("in", "inner (Sequential)", (x, {})),
        ("in", "inner.0 (ReLU)", (x, {})),
        ("out", "inner.0 (ReLU)", y),
        ("out", "inner (Sequential)", y),
        ("in", "bad (Raises)", (y, {"scale": 2})),
        ("out", "bad (Raises)", None),
    ]


def test_nobody_is_told_after_an_error():
    told, module = [], nn.Sequential(Raises())

    def run():
        with watched_calls(module, lambda *what: told.append(what), lambda *what: told.append(what)):
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        run()
    with pytest.raises(ArithmeticError):
        module[0](1, scale=3)
    assert told == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_script_is_passed_over():
    module = nn.Sequential(torch.jit.script(nn.ReLU()))
    with watched_calls(module, lambda *what: None, lambda *what: None):
        assert module(torch.ones(1)).item() == 1.0
