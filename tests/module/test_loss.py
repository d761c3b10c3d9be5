import math

import pytest
import torch

from framework import NonFiniteError, StepError
from framework.module.loss import refuse_non_finite, split_output

LOSS = torch.ones((), requires_grad=True) * 2
ALLOWED = "training_step should return the loss as a scalar tensor, or a mapping with it under 'loss' and other scalars beside it"


def test_a_lone_loss():
    loss, rest = split_output(LOSS)
    assert loss is LOSS
    assert rest == {}


def test_a_mapping_with_a_loss():
    loss, rest = split_output({"accuracy": 0.5, "loss": LOSS})
    assert loss is LOSS
    assert rest == {"accuracy": 0.5}


class Weird:
    pass


@pytest.mark.parametrize(
    ("returned", "came"),
    [
        (None, "got None. Did you forget to return it?"),
        (0.5, "got 0.5 (float). A number has no gradients: leave .item() and float() out."),
        (3, "got 3 (int). A number has no gradients: leave .item() out."),
        ("loss", "got 'loss' (str)."),
        ((LOSS, LOSS), "got a tuple. Return {'loss': loss, 'name': scalar}."),
        ([LOSS], "got a list."),
        (Weird(), "got a Weird."),
        (torch.ones(3, requires_grad=True), "got a tensor of shape (3,). Reduce it with .mean() or .sum()."),
        (torch.ones(1, requires_grad=True), "got a tensor of shape (1,). Reduce it with .mean() or .sum()."),
        (
            LOSS.detach(),
            "got a loss without gradients (requires_grad is False). It is detached: look for .detach(), .item(), "
            "torch.no_grad(), or parameters that are all frozen.",
        ),
        ({"losses": LOSS, "x": 1}, "got a mapping without 'loss', with the keys ['losses', 'x']."),
        ({"loss": None}, "got None. Did you forget to return it?"),
        ({}, "got a mapping without 'loss', with the keys []."),
    ],
)
def test_anything_else_is_refused_with_what_came(returned, came):
    with pytest.raises(StepError) as error:
        split_output(returned)
    assert str(error.value) == f"{ALLOWED}; {came}"


def test_n_is_kept_for_later():
    with pytest.raises(StepError, match="returned the key 'n', which is kept for sample counts"):
        split_output({"loss": LOSS, "n": 3})


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_names_its_iteration(value):
    with pytest.raises(NonFiniteError, match=rf"The loss is {value} in iteration 7 \(epoch 2\).*nan='ignore' trains on"):
        refuse_non_finite(value, 7, 2)
    refuse_non_finite(1e38, 7, 2)
