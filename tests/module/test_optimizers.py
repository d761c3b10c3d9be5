import pytest
import torch
from torch import nn

from framework import ModuleError
from framework.module.optimizers import named_optimizers, needs_closure


def sgd():
    return torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1)


def test_a_lone_optimizer_is_main():
    optimizer = sgd()
    assert named_optimizers(optimizer, "Net") == {"main": optimizer}


def test_several_keep_their_names_and_order():
    given = {"b": sgd(), "a": sgd()}
    named = named_optimizers(given, "Net")
    assert list(named) == ["b", "a"]
    assert named is not given


@pytest.mark.parametrize(
    ("configured", "came"),
    [(None, "got None. Did you forget to return it?"), ({}, "got {}."), (3, "got 3."), ("adam", "got 'adam'.")],
)
def test_anything_else_is_refused(configured, came):
    with pytest.raises(ModuleError) as error:
        named_optimizers(configured, "Net")
    message = "Net.configure_optimizers should return a torch optimizer or a mapping from names to optimizers; "
    assert str(error.value) == message + came


def test_lists_are_refused():
    with pytest.raises(ModuleError, match=r"should return a torch optimizer or a mapping from names to optimizers; got \[SGD"):
        named_optimizers([sgd()], "Net")


def test_each_of_a_mapping_is_an_optimizer():
    with pytest.raises(ModuleError, match=r"Net.configure_optimizers: 'b' should be a torch optimizer, got 3."):
        named_optimizers({"a": sgd(), "b": 3}, "Net")


def test_who_needs_a_closure():
    weight = nn.Parameter(torch.ones(1))
    assert needs_closure(torch.optim.LBFGS([weight]))
    assert not any(needs_closure(made([weight])) for made in (torch.optim.SGD, torch.optim.AdamW, torch.optim.Adafactor))
