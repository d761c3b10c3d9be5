import pytest
import torch
from torch import nn

from framework.backends import Clip
from framework.backends.clip import clip_gradients


@pytest.fixture
def parameters():
    made = [nn.Parameter(torch.zeros(1)) for _ in range(2)]
    for parameter, gradient in zip(made, (3.0, -4.0), strict=True):
        parameter.grad = torch.tensor([gradient])
    return made


def gradients(parameters):
    return [parameter.grad.item() for parameter in parameters]


def test_the_norm_is_that_of_all_gradients_together(parameters):
    norm = clip_gradients(parameters, Clip(norm=1.0))
    assert norm.item() == 5.0
    assert gradients(parameters) == pytest.approx([0.6, -0.8])


def test_a_small_norm_is_left_as_it_is(parameters):
    assert clip_gradients(parameters, Clip(norm=6.0)).item() == 5.0
    assert gradients(parameters) == [3.0, -4.0]


def test_each_entry_is_limited_in_both_directions(parameters):
    assert clip_gradients(parameters, Clip(value=3.5)) is None
    assert gradients(parameters) == [3.0, -3.5]


def test_the_norm_is_limited_before_the_entries(parameters):
    assert clip_gradients(parameters, Clip(norm=1.0, value=0.7)).item() == 5.0
    assert gradients(parameters) == pytest.approx([0.6, -0.7])


def test_without_limits_nothing_changes(parameters):
    assert clip_gradients(parameters, Clip()) is None
    assert gradients(parameters) == [3.0, -4.0]


def test_parameters_without_a_gradient_are_passed_over(parameters):
    idle = nn.Parameter(torch.ones(1))
    assert clip_gradients([idle, *parameters], Clip(norm=1.0, value=0.7)).item() == 5.0
    assert idle.grad is None
