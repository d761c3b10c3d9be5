"""Parameters in places where torch does not see them."""

import pytest
import torch
from torch import nn

from framework import ModuleError
from framework.module.checks.unregistered import refuse_unregistered


def module(**attributes):
    made = nn.Sequential(nn.Linear(2, 2))
    for name, value in attributes.items():
        setattr(made[0], name, value)
    return made


def layer():
    return nn.Linear(2, 2)


@pytest.mark.parametrize(
    ("held", "what"),
    [
        ([layer()], "is a list that holds a Linear"),
        ((1, layer()), "is a tuple that holds a Linear"),
        ({"a": layer()}, "is a dict that holds a Linear"),
        ({"a": [layer().requires_grad_(False), layer()]}, "is a dict that holds a Linear"),
        ([nn.Parameter(torch.ones(2))], "is a list that holds a Parameter"),
    ],
)
def test_layers_outside_of_torchs_lists(held, what):
    words = f"Sequential.0.extra {what}, whose parameters torch does not see there: .* Use nn.ModuleList.*requires_grad_"
    with pytest.raises(ModuleError, match=words):
        refuse_unregistered(module(extra=held))


def test_a_tensor_that_requires_gradients_is_no_parameter():
    words = r"Sequential.0.scale is a tensor that requires gradients, but no parameter: .* Write nn.Parameter\(...\)"
    with pytest.raises(ModuleError, match=words):
        refuse_unregistered(module(scale=torch.ones(2, requires_grad=True)))


def test_what_may_be_there():
    shared, kept = layer(), torch.ones(2, requires_grad=True)
    refuse_unregistered(
        module(
            a_teacher=[layer().requires_grad_(False)],
            a_sequence_of_registered_layers=[shared],
            the_layer_itself=shared,
            a_result=kept * 2,
            a_constant=torch.ones(2),
            a_list_of_torch=nn.ModuleList([layer()]),
            anything_else=[1, "two", None, {"three": [4]}],
        )
    )
