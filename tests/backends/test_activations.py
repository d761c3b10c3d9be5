import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from framework.backends.activations import kept_for_backward

WEIGHT = torch.ones(10, requires_grad=True)


class Twice(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x * 2)
        return x * 2

    @staticmethod
    def backward(ctx, gradient):
        return 2 * gradient


def test_what_several_operations_keep_counts_once():
    x = WEIGHT.neg()
    assert kept_for_backward((x * x + x * x).sum()) == 40
    assert kept_for_backward(x[:5].sin().sum()) == 40  # the memory behind a view


def test_what_is_known_does_not_count():
    batch = torch.ones(6, 10)
    assert kept_for_backward((batch * WEIGHT).sum()) == 240
    assert kept_for_backward((batch * WEIGHT).sum(), [batch]) == 0


def test_functions_of_ones_own_are_looked_into():
    assert kept_for_backward(Twice.apply(WEIGHT).sum()) == 40


def test_what_is_computed_again_is_neither_counted_nor_computed_now():
    calls = []
    layer = nn.Sequential(nn.Linear(10, 100), nn.Sigmoid())
    layer.register_forward_hook(lambda *_: calls.append(1))
    x = torch.ones(8, 10, requires_grad=True)
    known = [x, *layer.parameters()]
    assert kept_for_backward(layer(x).sum(), known) == 8 * 100 * 4
    assert kept_for_backward(checkpoint(layer, x, use_reentrant=False).sum(), known) == 0
    assert len(calls) == 2


def test_that_a_tensor_was_changed_in_place_is_left_to_torch():
    x = WEIGHT.sigmoid()
    x.add_(1)
    loss = x.sum()
    assert kept_for_backward(loss) == 40
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_sparse_tensors_count_their_size():
    matrix = torch.eye(10).to_sparse()
    assert kept_for_backward(torch.sparse.mm(matrix, WEIGHT.unsqueeze(1)).sum(), [WEIGHT]) > 0


def test_a_loss_without_a_graph_keeps_nothing():
    assert kept_for_backward(torch.ones(())) == 0


def test_a_torch_that_does_not_show_it_is_asked_nothing(monkeypatch):
    class Closed:
        """Stands for what saved tensors were in earlier versions."""

    monkeypatch.setattr(torch._C._autograd, "SavedTensor", Closed)
    assert kept_for_backward(WEIGHT.sum()) is None
