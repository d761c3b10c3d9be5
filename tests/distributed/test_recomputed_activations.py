import copy

import pytest
import torch
from ranks import on_ranks
from torch import nn

from framework import AMP, DDP, Plain, SettingError
from framework.distributed.activations import checkpoint_activations
from framework.distributed.group import joined
from framework.steps.returned_loss import ReturnedLoss

CPU = torch.device("cpu")


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear, self.norm, self.dropout = nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Dropout(0.5)
        self.register_buffer("seen", torch.zeros(()))
        self.register_buffer("nothing", None)
        self.calls = 0

    def forward(self, x, *, scale=1.0):
        self.calls += 1
        self.seen = self.seen + len(x)  # another tensor in its place
        return x + scale * self.dropout(torch.tanh(self.norm(self.linear(x))))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(Block() for _ in range(3))
        self.blocks[0].norm.eval()  # whose running means take part in the gradients, and do not change

    def forward(self, x):
        for block in self.blocks:
            x = block(x, scale=0.5)
        return x


def made():
    torch.manual_seed(0)
    return Net()


def train(net, backend=None, steps=3):
    backend = backend or Plain(CPU)
    optimizers = {"main": torch.optim.SGD(net.parameters(), lr=0.1)}
    backend.adopt(net, optimizers, backend.place(net))
    step = backend.parallel_step(net, lambda batch, engine: net(batch).square().mean())
    trained = ReturnedLoss(backend, optimizers, lambda engine, batch: (step(batch, engine), None))
    torch.manual_seed(1)
    for _ in range(steps):
        trained.run(None, torch.randn(4, 8))
    return net.state_dict()


def same_bits(one, other):
    return list(one) == list(other) and all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_same_bits_with_each_block_computed_twice(precision):
    def backend():
        return Plain(CPU) if precision == "fp32" else AMP(CPU, precision)

    plain, net = made(), made()
    with checkpoint_activations(net, list(net.blocks)):
        anew = train(net, backend())
    assert same_bits(train(plain, backend()), anew)
    assert [block.calls for block in plain.blocks] == [3] * 3
    assert [block.calls for block in net.blocks] == [6] * 3


def test_less_is_kept_for_the_backward_pass():
    def kept(net):
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda tensor: sizes.append(tensor.numel()) or tensor, lambda tensor: tensor):
            net(torch.randn(4, 8))
        return sum(sizes)

    net = nn.Sequential(*(nn.Sequential(nn.Linear(8, 8), *[nn.Tanh() for _ in range(9)]) for _ in range(4)))
    before = kept(net)
    with checkpoint_activations(net, list(net)):
        assert kept(net) < before / 5
    assert kept(net) == before


def test_nothing_is_computed_twice_without_gradients():
    net = made()
    with checkpoint_activations(net, list(net.blocks)), torch.no_grad():
        net(torch.ones(2, 8))
    assert [block.calls for block in net.blocks] == [1] * 3


def test_the_module_is_as_it_was_afterwards():
    net = made()
    names, own = list(net.state_dict()), net.blocks[1].forward
    net.blocks[1].forward = own  # of the object, as some libraries put it there
    with checkpoint_activations(net, list(net.blocks)):
        assert list(net.state_dict()) == names
    assert ["forward" in vars(block) for block in net.blocks] == [False, True, False]
    assert net.blocks[1].forward is own
    copy.deepcopy(net)(torch.ones(2, 8))


def test_blocks_may_be_nested():
    net = made()
    with checkpoint_activations(net, [*net.blocks, net]):
        anew = train(net)
    assert same_bits(train(made()), anew)


def test_without_blocks_there_is_nothing_to_compute_anew():
    message = "checkpoint_activations=True: no blocks were found in Linear .* Return them from configure_sharding"
    with pytest.raises(SettingError, match=message), checkpoint_activations(nn.Linear(1, 1), []):
        pass


def _under_ddp(rank):
    with joined(CPU) as group:
        results = []
        for anew in (False, True):
            net, backend = made(), DDP().over(Plain(CPU), group, lambda module: [])
            if anew:
                with checkpoint_activations(net, list(net.blocks)):
                    results.append(train(net, backend))
            else:
                results.append(train(net, backend))
        return same_bits(*results), [block.calls for block in net.blocks]


def test_under_ddp_as_well():
    assert on_ranks(2, _under_ddp) == [(True, [6] * 3)] * 2
