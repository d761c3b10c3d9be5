"""A little language model, trained by hand in one process and split over two."""

import torch
from torch import nn

from framework import FSDP, Plain
from framework.distributed.blocks import find_blocks
from framework.steps.returned_loss import ReturnedLoss

CPU = torch.device("cpu")
SIZE = 2  # ranks


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(8)
        self.linear = nn.Linear(8, 8)
        self.dropout = nn.Dropout(0.2)
        self.calls = 0
        self.seen = None

    def forward(self, x):
        self.calls += 1
        self.seen = type(self.linear.weight), self.linear.weight.dtype, x.dtype
        return x + self.dropout(torch.tanh(self.linear(self.norm(x))))


class Net(nn.Module):
    """Its head is its embedding."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(11, 8)
        self.layers = nn.ModuleList(Layer() for _ in range(3))
        self.norm = nn.BatchNorm1d(8)
        self.head = nn.Linear(8, 11, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens):
        x = self.embedding(tokens)
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x))


def made(seed=0):
    torch.manual_seed(seed)
    return Net()


def tokens(step, size=8):
    return torch.randint(11, (size,), generator=torch.Generator().manual_seed(step))


def loss_of(net, batch):
    """Uses a parameter that is in no block after the module itself was called."""
    return nn.functional.cross_entropy(net(batch), batch.flip(0)) + 0.01 * net.head.weight.square().mean()


def adamw(net):
    return {"main": torch.optim.AdamW(net.parameters(), lr=0.01)}


class Training:
    """A net that is trained step by step."""

    def __init__(self, net, group, inner=None, strategy=None, clip=None, blocks=find_blocks, optimizers=adamw):
        self.net, self.group = net, group
        self.backend = (strategy or FSDP()).over(inner or Plain(CPU), group, blocks)
        replaced = self.backend.place(net)
        self.optimizers = optimizers(net)
        self.backend.adopt(net, self.optimizers, replaced)
        parallel = self.backend.parallel_step(net, lambda batch, engine: self.loss(net, batch))
        self.loss = loss_of

        def forward(engine, batch):
            loss = parallel(batch, engine)
            return loss, loss.detach()

        self.step = ReturnedLoss(self.backend, self.optimizers, forward, clip=clip)

    def run(self, steps):
        return [self.step.run(None, tokens(step).chunk(SIZE)[self.group.rank]) for step in steps]

    def whole(self):
        return {name: value.full_tensor().detach() for name, value in self.net.named_parameters()}


class AfterBackward:
    """Watches a step, and does something after its backward pass."""

    active = True

    def __init__(self, act):
        self.backward_completed = act

    def loss_computed(self, loss):
        pass

    def optimizer_step_started(self, optimizer):
        pass

    def optimizer_step_completed(self, optimizer):
        pass


def by_hand(net, steps, clip=None):
    """The same in one process, the batches in parts as the ranks have them."""
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.01)
    norms = []
    for step in steps:
        optimizer.zero_grad()
        for part in tokens(step).chunk(SIZE):
            (loss_of(net, part) / SIZE).backward()
        norms.append(nn.utils.clip_grad_norm_(net.parameters(), clip or float("inf")).item())
        optimizer.step()
    return dict(net.named_parameters()), norms


def without_dropout(net):
    for layer in net.layers:
        layer.dropout.p = 0.0
    return net


def is_split(tensor):
    return hasattr(tensor, "to_local")


def all_split(net):
    return all(map(is_split, net.parameters()))
