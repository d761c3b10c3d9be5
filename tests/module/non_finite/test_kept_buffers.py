import torch
from torch import nn

from framework.module.non_finite.kept_buffers import keep_buffers


def test_buffers_of_every_kind_are_put_back():
    module = nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 2))
    module.register_buffer("hidden", None)
    module.register_buffer("table", torch.arange(3), persistent=False)
    table = module.table
    put_back = keep_buffers(module)
    module(torch.full((4, 2), float("nan")))
    module.hidden, module.table = torch.ones(2), torch.zeros(3)
    table.fill_(7)
    put_back()
    assert module.hidden is None
    assert module.table is table
    assert table.tolist() == [0, 1, 2]
    assert module[0].running_mean.tolist() == [0.0, 0.0]
    assert module[0].num_batches_tracked.item() == 0


def test_twice_if_need_be_and_weights_stay():
    module = nn.BatchNorm1d(2)
    put_back = keep_buffers(module)
    for _ in range(2):
        module.running_var.fill_(9.0)
        module.weight.data.fill_(3.0)
        put_back()
        assert module.running_var.tolist() == [1.0, 1.0]
    assert module.weight.tolist() == [3.0, 3.0]


def test_a_lazy_buffer_has_nothing_to_be_kept():
    module = nn.LazyBatchNorm1d()
    put_back = keep_buffers(module)
    module(torch.ones(4, 2))
    put_back()
    assert module.running_mean.shape == (2,)
