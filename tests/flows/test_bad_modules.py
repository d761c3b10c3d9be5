"""Mistakes in what a module declares and what its steps return: refused with the remedy, before the first update."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from framework import ModuleError, NonFiniteError, StepError, TrainModule, on


@pytest.mark.parametrize(
    ("error", "declared", "words"),
    [
        (ModuleError, {"training_step": TrainModule.training_step}, "Mine has no training_step, which fit needs"),
        (
            ModuleError,
            {"configure_optimizers": TrainModule.configure_optimizers},
            "Mine has no configure_optimizers, which fit needs",
        ),
        (ModuleError, {"evaluation_step": TrainModule.evaluation_step}, "Mine has no evaluation_step, which val_data needs"),
        (ModuleError, {"configure_optimizers": lambda self: None}, "got None. Did you forget to return it?"),
        (
            ModuleError,
            {"configure_optimizers": lambda self: torch.optim.SGD(nn.Linear(9, 9).parameters(), lr=0.1)},
            "holds a parameter of shape (9, 9) that is not one of Mine's",
        ),
        (ModuleError, {"configure_schedulers": lambda self, optimizers: 3}, "configure_schedulers should return nothing, a torch"),
        (ModuleError, {"configure_metrics": lambda self: [1]}, "configure_metrics should return a mapping from names to metrics"),
        (ModuleError, {"configure_metrics": lambda self: {"f1": 3}}, "The metric 'f1' (int) has no update and no compute and no"),
    ],
)
def test_modules(loader, error, declared, words, refused, net):
    refused(error, words, module=net(**declared), train=loader, val=loader)
    assert loader.passes == 0


def test_a_module_in_eval_mode(loader, refused, net):
    refused(ModuleError, "Mine is in eval mode", "Call mine.train() before fit", module=net().eval(), train=loader)
    assert loader.passes == 0


def test_a_method_marked_with_an_unknown_event(loader, refused, net):
    words = "Mine has a method that cannot be registered. Event 'no_such_event' is not a valid event"
    refused(ModuleError, words, module=net(act=on("no_such_event")(lambda self: None)), train=loader)
    assert loader.passes == 0


LOSSES = {
    "none": (lambda loss: None, "got None. Did you forget to return it?"),
    "vector": (lambda loss: loss.expand(8), "got a tensor of shape (8,). Reduce it with .mean() or .sum()."),
    "one in a row": (lambda loss: loss.reshape(1), "got a tensor of shape (1,). Reduce it"),
    "detached": (lambda loss: loss.detach(), "got a loss without gradients", "It is detached: look for .detach()"),
    "number": (lambda loss: loss.item(), "A number has no gradients: leave .item() and float() out."),
    "tuple": (lambda loss: (loss, 1), "got a tuple. Return {'loss': loss, 'name': scalar}."),
    "no loss": (lambda loss: {"mse": loss}, "got a mapping without 'loss', with the keys ['mse']"),
    "loss of none": (lambda loss: {"loss": None}, "got None."),
    "no scalar beside it": (
        lambda loss: {"loss": loss, "x": "high"},
        "'x' should be a number or a tensor of one element, got 'high'",
    ),
    "a vector beside it": (lambda loss: {"loss": loss, "x": torch.ones(2)}, "'x' should be a scalar, got a tensor of shape (2,)"),
}


@pytest.mark.parametrize("case", LOSSES.values(), ids=LOSSES)
def test_losses_are_refused_in_the_first_step(loader, case, refused, net):
    change, *words = case
    module = net(training_step=lambda self, batch: change(F.mse_loss(self(batch[0]), batch[1])))
    refused(StepError, *words, module=module, train=loader)
    assert loader.reads == 1


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_a_loss_that_is_not_finite_leaves_the_weights(loader, value, refused, net):
    module = net(training_step=lambda self, batch: self(batch[0]).mean() * float(value))
    refused(NonFiniteError, "in iteration 1 (epoch 1)", "nan='ignore' trains on regardless", module=module, train=loader)
    assert loader.reads == 1


def test_a_stop_iteration_from_a_step_is_not_the_end_of_the_data(loader, net):
    module = net(training_step=lambda self, batch: next(iter(())))
    with pytest.raises(RuntimeError, match="StopIteration was raised in <lambda>"):
        module.fit(loader, max_epochs=1, progress=False)
