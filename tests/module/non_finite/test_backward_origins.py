import gc
import weakref

import pytest
import torch
from torch import nn

from framework.module.non_finite.backward_origins import BackwardOrigins


class Root(nn.Module):
    def forward(self, x):
        return x.sqrt()


class Wave(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient / 0


def first(function, module=None):
    x = torch.zeros(2, requires_grad=True)
    origins = BackwardOrigins(module or nn.Identity())
    with origins.following():
        loss = function(x)
    origins.look_at(loss)
    loss.backward()
    return origins.first


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (lambda x: x.square().sum().sqrt(), "SqrtBackward0"),  # whose infinity times 0 is NaN one later
        (lambda x: torch.where(x > 0, x.log(), x).sum(), "LogBackward0"),
        (lambda x: (x + 1).log().sum() + (x * 2).pow(0.5).sum(), "PowBackward0"),
        (lambda x: Wave.apply(x).sum(), "WaveBackward"),
    ],
)
def test_the_backward_that_made_it(function, name):
    said = first(function)
    assert said.startswith(f"made the first gradient that is not finite in {name}, the backward of line ")
    assert " of test_backward_origins.py (`" in said


def test_the_submodule_it_belongs_to():
    module = nn.Sequential(nn.Identity(), nn.Sequential(nn.ReLU(), Root()))
    said = first(lambda x: module(x * 1.0).sum(), module)
    assert " in SqrtBackward0 in 1.1 (Root), the backward of line " in said
    assert "(`return x.sqrt()`)" in said
    outside = first(lambda x: module[1][0](module[0](x.sqrt())).sum(), module)
    assert " in SqrtBackward0, the backward of " in outside


def test_nothing_where_all_is_finite():
    assert first(lambda x: (x + 1).log().sum()) is None


def test_code_that_is_not_known():
    x = torch.zeros(2, requires_grad=True)
    loss = x.sqrt().sum()
    origins = BackwardOrigins(nn.Identity())
    origins.look_at(loss)
    loss.backward()
    assert origins.first == "made the first gradient that is not finite in SqrtBackward0, the backward of code that is not known"


def test_the_graph_is_not_held():
    gc.collect()
    gc.disable()
    try:
        x = torch.ones(2, requires_grad=True)
        origins = BackwardOrigins(nn.Identity())
        kept = torch.ones(2)
        gone = weakref.ref(kept)
        loss = (x * kept).sum()
        origins.look_at(loss)
        del loss, kept
        assert gone() is None
    finally:
        gc.enable()
