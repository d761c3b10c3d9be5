import pytest
import torch
from ranks import on_ranks
from torch import nn

from framework import ModuleError, SettingError, StepError
from framework.distributed.group import joined
from framework.distributed.replicas import _PACKET_BYTES, average_gradients, refuse_differences, send_from_main, sync_batchnorm
from framework.errors import RankError

CPU = torch.device("cpu")


def frozen(module):
    return module.requires_grad_(False)


def with_buffer(value):
    module = nn.Linear(2, 1)
    module.register_buffer("seen", value)
    return module


def in_order(*names):
    return nn.ModuleDict({name: nn.Linear(1, 1, bias=False) for name in names})


DIFFERENT = {
    r"The parameter weight of Linear is float32 \(2, 3\) on rank 1 and float32 \(2, 2\) on rank 0": lambda rank: nn.Linear(
        2 + rank, 2
    ),
    "The parameter bias of Linear is missing on rank 1 and": lambda rank: nn.Linear(2, 2, bias=rank == 0),
    "The parameter bias of Linear is .* on rank 1 and missing on rank 0": lambda rank: nn.Linear(2, 2, bias=rank == 1),
    r"is float64 \(2, 2\) on rank 1 and float32": lambda rank: nn.Linear(2, 2).to([torch.float32, torch.float64][rank]),
    r"is float32 \(2, 2\), frozen on rank 1 and float32 \(2, 2\) on rank 0": lambda rank: nn.Linear(2, 2).requires_grad_(rank == 0),
    r"The buffer seen of Linear is int64 \(2,\) on rank 1": lambda rank: with_buffer(torch.ones(1 + rank, dtype=torch.int64)),
    "are the same on rank 1 and rank 0, but in another order": lambda rank: in_order(*["ab", "ba"][rank]),
}


def refused_everywhere(rank):
    with joined(CPU) as group:
        for text, make in DIFFERENT.items():
            with pytest.raises(RankError, match=text):
                refuse_differences(make(rank), group)
        refuse_differences(with_buffer(torch.ones(2)), group)


def test_models_that_differ_are_refused_on_all_ranks_with_rank_and_name():
    on_ranks(2, refused_everywhere)


def test_parameters_without_a_shape_are_refused():
    text = r"2 parameters of LazyLinear have no shape yet.*: weight, bias\. Run one batch"
    with joined(CPU, alone=True) as group, pytest.raises(ModuleError, match=text):
        refuse_differences(nn.LazyLinear(3), group)


def tensors_of(rank):
    """One of each kind, other ones on each rank."""
    floats = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.complex64]
    return [
        *(torch.full((3, 2), rank + 1.5, dtype=dtype) for dtype in floats),
        *(torch.full((2,), rank + 1, dtype=dtype) for dtype in (torch.int64, torch.uint8, torch.int16)),
        torch.tensor([rank == 0, True]),
        torch.tensor(float("nan") if rank == 0 else 1.0),
        torch.tensor(-0.0 if rank == 0 else 0.0),
        torch.arange(6.0).view(2, 3).T * (rank + 1),
        torch.empty(0),
        torch.eye(2).mul(rank + 1).to_sparse(),
        torch.full((_PACKET_BYTES // 4 + 1,), rank + 1.0),
        nn.Parameter(torch.full((2,), rank + 2.0)),
    ]


def sent(rank):
    tensors = tensors_of(rank)
    strides = [each.stride() for each in tensors if each.layout is torch.strided]
    with joined(CPU) as group:
        send_from_main(tensors, group)
        send_from_main([], group)
    assert strides == [each.stride() for each in tensors if each.layout is torch.strided]
    for ours, expected in zip(tensors, tensors_of(0), strict=True):
        assert ours.dtype == expected.dtype
        if ours.layout is not torch.strided:
            ours, expected = ours.to_dense(), expected.to_dense()
        assert torch.equal(bits(ours), bits(expected))


def bits(tensor):
    return tensor.detach().contiguous().view(-1).view(torch.uint8)


def test_tensors_of_every_kind_are_sent_bit_for_bit():
    on_ranks(2, sent)


def averaged(rank):
    both, first_only, nowhere, double = (
        nn.Parameter(torch.ones(2, dtype=dtype)) for dtype in [torch.float32] * 3 + [torch.float64]
    )
    square = nn.Parameter(torch.ones(2, 3).T)
    both.grad = torch.tensor([1.0, 2.0]) * (rank + 1)
    double.grad = torch.tensor([0.1, 0.2], dtype=torch.float64) * (rank + 1)
    square.grad = torch.arange(6.0).view(3, 2) * rank
    kept = both.grad
    if rank == 0:
        first_only.grad = torch.tensor([4.0, 8.0])
    with joined(CPU) as group:
        average_gradients([both, first_only, nowhere, double, square], group, "'main'")
        assert both.grad is kept
        assert nowhere.grad is None
        assert square.grad.tolist() == (torch.arange(6.0).view(3, 2) / 2).tolist()
        assert first_only.grad.tolist() == [2.0, 4.0]
        assert both.grad.tolist() == [1.5, 3.0]
        assert double.grad.tolist() == pytest.approx([0.15, 0.3])
        average_gradients([nowhere], group, "'main'")
        assert nowhere.grad is None
        with pytest.raises(RankError, match=r"the gradients of '[dg]'"):
            average_gradients([both], group, ["'d'", "'g'"][rank])


def test_gradients_are_averaged_with_zeros_where_a_rank_has_none():
    on_ranks(2, averaged)


def test_sparse_gradients_are_refused():
    table = nn.Embedding(3, 2, sparse=True)
    table(torch.tensor([1])).sum().backward()
    with (
        joined(CPU, alone=True) as group,
        pytest.raises(StepError, match=r"gradients of 'main' are sparse.*\(3, 2\).*sparse=False"),
    ):
        average_gradients([table.weight], group, "'main'")


def test_batch_normalisation_over_processes_is_for_gpus():
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    with pytest.raises(SettingError, match=r"sync_batchnorm=True: torch has .* on GPUs only, and the run is on cpu\. Leave it out"):
        sync_batchnorm(net, CPU)
    weight = net[1].weight
    sync_batchnorm(net, torch.device("cuda"))
    assert isinstance(net[1], nn.SyncBatchNorm)
    assert net[1].weight is weight
    assert net(torch.randn(4, 2)).shape == (4, 2)  # alone it is what it was
