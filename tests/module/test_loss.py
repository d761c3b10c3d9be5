import math

import pytest
import torch

from framework import NonFiniteError, StepError
from framework.module.loss import refuse_non_finite, split_end, split_output, split_yielded
from framework.steps.update import SummedLoss

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
            "torch.no_grad(), argmax and comparisons, or parameters that are all frozen.",
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


def test_a_sum_and_its_count():
    for n in (3, 3.0, torch.tensor(3), torch.tensor([3.0])):
        loss, rest = split_output({"loss": LOSS, "n": n, "x": 1})
        assert loss == SummedLoss(LOSS, 3.0)
        assert rest == {"x": 1}


def test_a_count_on_a_device_is_not_read():
    loss, _ = split_output({"loss": LOSS, "n": torch.ones(1, device="meta")})
    assert loss.count.shape == ()


@pytest.mark.parametrize(
    ("n", "came"),
    [
        (-2, "got -2 (int)."),
        (True, "got True (bool)."),
        ("3", "got '3' (str)."),
        (math.nan, "got nan (float)."),
        (math.inf, "got inf (float)."),
        (torch.full((), -1.0), "got -1.0 (float)."),
        (torch.ones(2), "got a tensor of shape (2,)."),
    ],
)
def test_a_count_is_a_number_above_zero(n, came):
    with pytest.raises(StepError) as error:
        split_output({"loss": LOSS, "n": n})
    assert str(error.value) == f"'n' beside 'loss' should be the number of things that the loss is a sum over; {came}"


def test_a_generator_object_is_explained():
    with pytest.raises(StepError, match=r"got a generator. To pass its losses on write `yield from`"):
        split_output(loss for loss in [LOSS])


YIELDED = (
    "training_step should yield (name, loss): the name of an optimizer, or a tuple of names, and a scalar tensor or "
    "{'loss': sum, 'n': count}"
)


def test_a_yielded_loss_and_its_optimizers():
    assert split_yielded(("a", LOSS), {"a": 1, "b": 2}) == (("a",), LOSS)
    assert split_yielded((("b", "a"), LOSS), {"a": 1, "b": 2}) == (("b", "a"), LOSS)
    assert split_yielded(("a", {"loss": LOSS, "n": 3}), ["a"]) == (("a",), SummedLoss(LOSS, 3.0))


@pytest.mark.parametrize(
    ("yielded", "came"),
    [
        (LOSS, "got a Tensor."),
        (None, "got None (NoneType)."),
        (("a", LOSS, 3), "got a tuple."),
        (("c", LOSS), "got the name 'c'. The optimizers are 'a', 'b'."),
        ((3, LOSS), "got the name 3. The optimizers are 'a', 'b'."),
        (((), LOSS), "got the names ()."),
        ((["a", "b"], LOSS), "got the name ['a', 'b']. The optimizers are 'a', 'b'."),
        (("a", {"loss": LOSS}), "got a dict."),
        ((("a", "a"), LOSS), "got the names ('a', 'a')."),
        (("a", None), "got None. Did you forget to return it?"),
        (("a", 3.0), "got 3.0 (float). A number has no gradients: leave .item() and float() out."),
        (("a", torch.ones(2)), "got a tensor of shape (2,). Reduce it with .mean() or .sum()."),
    ],
)
def test_anything_else_that_is_yielded_is_refused(yielded, came):
    with pytest.raises(StepError) as error:
        split_yielded(yielded, ["a", "b"])
    assert str(error.value) == f"{YIELDED}; {came}"


def test_a_generator_ends_with_a_mapping_or_nothing():
    assert split_end(None) == {}
    assert split_end({"x": 1}) == {"x": 1}
    with pytest.raises(StepError, match="should return nothing or a mapping of other scalars; got a Tensor"):
        split_end(LOSS)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_names_its_iteration(value):
    with pytest.raises(
        NonFiniteError, match=rf"The loss is {value} in iteration 7 \(epoch 2\).*debug=True names the first bad module; nan='skip' "
    ):
        refuse_non_finite(value, 7, 2)
    with pytest.raises(NonFiniteError, match=rf"The loss for 'd' is {value} in iteration 7"):
        refuse_non_finite(value, 7, 2, "d")
    refuse_non_finite(1e38, 7, 2)


@pytest.mark.parametrize("loss", [torch.tensor(3), torch.tensor(True)])
def test_a_loss_of_whole_numbers_has_no_gradients(loss):
    with pytest.raises(StepError, match=rf"got a tensor of type {str(loss.dtype)[6:]}, which has no gradients. Compute the loss"):
        split_output(loss)
