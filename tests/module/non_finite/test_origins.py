import pytest
import torch
from torch import nn

from framework.module.non_finite.origins import Origins, is_users, said_of_line

NAN, INF = float("nan"), float("inf")


class Part(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def origin(function, batch=None, *, outside=False):
    """What is said of what a function returns, called inside of a submodule or outside of all."""
    module = nn.Sequential(Part(lambda x: x if outside else function(x)), nn.Identity())
    batch = torch.zeros(2) if batch is None else batch
    origins = Origins(module, batch)
    with origins.following():
        result = module(batch)
        result = function(result) if outside else result
    return origins.of(result)


def in_place(x):
    y = torch.zeros(3)
    y[1:].copy_(x.log())
    return y.sum()


@pytest.mark.parametrize(
    ("function", "operation"),
    [
        (lambda x: x.log(), "log"),
        (lambda x: x / x, "div"),
        (lambda x: (x.log() + 1).sum(), "log"),
        (lambda x: x * NAN, "mul"),
        (in_place, "log"),
        (lambda x: (x + 1).log_().log_().neg(), "log_"),
        (lambda x: x + torch.full((2,), INF), "full"),
        (lambda x: torch.where(x > 0, x.log().exp(), x.sqrt() / 0), "div"),
        (lambda x: x.view(2, 1)[0].add_(INF), "add_"),
    ],
)
def test_the_operation_that_made_it(function, operation):
    inside = origin(function)
    assert inside.startswith(f"made the first value that is not finite in the operation {operation} in 0 (Part), line ")
    assert " of test_origins.py (`" in inside
    outside = origin(function, outside=True)
    assert f" {operation} in Sequential.training_step, outside of its submodules, line " in outside


def test_what_is_finite_again_is_no_origin():
    assert origin(lambda x: x.log().softmax(0).nan_to_num()) is None
    assert "operation sqrt" in origin(lambda x: (x + x.log().clamp(min=-1)).sqrt())


def test_memory_that_is_not_filled_yet_is_no_origin():
    assert origin(lambda x: torch.empty(2).fill_(1.0)) is None


def test_of_several_causes_the_first_that_is_known():
    assert "operation log" in origin(lambda x: torch.full((2,), 1.0).mul_(x.log()))


class Thing:
    def __init__(self, tensor):
        self.tensor = tensor


@pytest.mark.parametrize(
    ("batch_of", "place"),
    [
        (lambda bad: bad, "batch"),
        (lambda bad: (torch.zeros(2), bad), "batch[1]"),
        (lambda bad: {"x": [torch.zeros(2), bad], "name": "a"}, "batch['x'][1]"),
    ],
)
def test_the_batch_is_an_origin(batch_of, place):
    leaves = torch.tensor([0.0, NAN])
    batch = batch_of(leaves)
    origins = Origins(nn.Identity(), batch)
    assert origins.of(leaves) == f"was given {place}, in which 1 of 2 entries are not finite"
    with origins.following():
        result = leaves[1:].exp() * 2
    assert origins.of(result) == origins.of(leaves)


def test_weights_and_buffers_are_origins():
    module = nn.BatchNorm1d(3)
    module.weight.data[1] = INF
    module.running_var.fill_(NAN)
    origins = Origins(module, None)
    assert origins.of(module.weight) == "used the parameter weight, in which 1 of 3 entries are not finite"
    assert origins.of(module.running_var) == "used the buffer running_var, in which 3 of 3 entries are not finite"
    Origins(nn.LazyLinear(3), None)


def test_what_comes_from_elsewhere_is_said_to():
    elsewhere = Thing(torch.full((2,), NAN))
    said = origin(lambda x: (x + elsewhere.tensor) * 2)
    assert said.startswith("gave add in 0 (Part), line ")
    assert said.endswith(" a value that is not finite and neither of the batch nor a parameter or buffer")


@pytest.mark.filterwarnings("ignore:Sparse")
def test_sparse_tensors_are_followed():
    assert "operation log" in origin(lambda x: (x.log().to_sparse() * 2).to_dense().sum())


def test_lines_are_said_with_their_code_where_it_is_known():
    assert said_of_line(__file__, 1) == "line 1 of test_origins.py (`import pytest`)"
    assert said_of_line("<string>", 3) == "line 3 of <string>"
    assert is_users(__file__)
    assert not any(map(is_users, (torch.__file__, nn.functional.__file__, "<frozen runpy>", "<eval_with_key>.5")))
