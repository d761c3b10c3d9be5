import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import StepLR

from framework import ModuleError, TrainModule
from framework.module.optimizers import configured_optimizers, named_optimizers, needs_closure


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


NAMES = "Give each a name: {'generator': first, 'critic': second}; schedulers come from configure_schedulers."
SCHEDULERS = "Return schedulers from configure_schedulers(self, optimizers)."


@pytest.mark.parametrize(
    ("configured", "words"),
    [
        ([sgd()], f"got [SGD]. {NAMES}"),
        ((sgd(), sgd()), f"got (SGD, SGD). {NAMES}"),
        (([sgd()], [StepLR(sgd(), 1)]), f"got ([SGD], [StepLR]). {NAMES}"),
        (StepLR(sgd(), 1), f"got StepLR. {SCHEDULERS}"),
        (StepLR, f"got {StepLR!r}. {SCHEDULERS}"),
        (torch.optim.SGD, f"got {torch.optim.SGD!r}. It is the class: write SGD(self.parameters(), ...)."),
        (
            {"optimizer": sgd(), "lr_scheduler": StepLR(sgd(), 1)},
            f"'lr_scheduler' should be a torch optimizer, got StepLR. {SCHEDULERS}",
        ),
        ({"optimizer": sgd(), "monitor": "x", "lr_scheduler": {}}, f"'monitor' should be a torch optimizer, got 'x'. {SCHEDULERS}"),
        ({"a": torch.optim.Adam}, f"got {torch.optim.Adam!r}. It is the class: write Adam(self.parameters(), ...)."),
        ({0: sgd()}, "the name of an optimizer should be a text, got 0."),
        ({"": sgd()}, "the name of an optimizer should be a text, got ''."),
    ],
    ids=str,
)
def test_what_other_libraries_return(configured, words):
    with pytest.raises(ModuleError) as error:
        named_optimizers(configured, "Net")
    assert str(error.value).startswith("Net.configure_optimizers")
    assert str(error.value).endswith(words)


def configured(line, configure):
    return configured_optimizers(type("Net", (line,), {"configure_optimizers": configure})())


def test_a_module_configures_its_own(line):
    assert list(configured_optimizers(line())) == ["main"]
    part = configured(line, lambda self: torch.optim.SGD([self.layer.bias, self.layer.weight.requires_grad_(False)], lr=0.1))
    assert list(part) == ["main"]


def test_a_module_without_parameters():
    class Empty(TrainModule):
        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    words = (
        r"Empty has no parameters, so there is nothing to train. Assign its layers to self .* use nn.ModuleList or nn.ModuleDict"
    )
    with pytest.raises(ModuleError, match=words):
        configured_optimizers(Empty())


def test_an_optimizer_without_parameters(line):
    words = "Net.configure_optimizers gave an optimizer no parameters, though Net has 2. What picked them has found none"
    with pytest.raises(ModuleError, match=words):
        configured(line, lambda self: torch.optim.SGD([], lr=0.1))


def test_another_error_of_configure_optimizers_stays(line):
    with pytest.raises(ValueError, match="Invalid learning rate"):
        configured(line, lambda self: torch.optim.SGD(self.parameters(), lr=-1))


def test_parameters_that_are_all_frozen(line):
    words = (
        r"Net: all parameters that its optimizers hold are frozen \(requires_grad is False\), .* Call requires_grad_\(\) on those"
    )
    with pytest.raises(ModuleError, match=words):
        configured(line, lambda self: torch.optim.SGD(self.requires_grad_(False).parameters(), lr=0.1))


def test_each_of_a_mapping_is_an_optimizer():
    with pytest.raises(ModuleError, match=r"Net.configure_optimizers: 'b' should be a torch optimizer, got 3."):
        named_optimizers({"a": sgd(), "b": 3}, "Net")


def test_who_needs_a_closure():
    weight = nn.Parameter(torch.ones(1))
    assert needs_closure(torch.optim.LBFGS([weight]))
    assert not any(needs_closure(made([weight])) for made in (torch.optim.SGD, torch.optim.AdamW, torch.optim.Adafactor))
