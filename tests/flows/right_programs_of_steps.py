"""Right but unusual programs: what a step computes, and what it is given."""

import dataclasses
from collections import OrderedDict, UserDict

import torch
from right_programs import BATCHES, Net, X, Y, program
from torch import nn
from torch.func import functional_call, grad
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

NOTHING_LEFT = (X[:4], torch.zeros(4, dtype=torch.long))  # for a loss of the samples of class 1


@program
def loss_of_a_batch_that_a_mask_has_emptied():
    class Masked(Net):
        def training_step(self, batch):
            x, y = batch
            kept = y == 1
            return super().training_step((x[kept], y[kept])) if kept.any() else torch.zeros((), requires_grad=True)

    return Masked(), [NOTHING_LEFT, NOTHING_LEFT, *BATCHES, NOTHING_LEFT]


@program
def meta_learning():
    class Meta(Net):
        def inner(self, weights, x, y):
            return F.cross_entropy(functional_call(self.net, weights, (x,)), y)

        def training_step(self, batch):
            (x, y), weights = batch, dict(self.net.named_parameters())
            slopes = grad(self.inner)(weights, x[:2], y[:2])
            return self.inner({name: value - 0.1 * slopes[name] for name, value in weights.items()}, x[2:], y[2:])

    return Meta()


@program
def gradient_penalty():
    class Penalised(Net):
        def training_step(self, batch):
            x = batch[0].clone().requires_grad_()
            output = self(x).tanh()
            (slope,) = torch.autograd.grad(output.sum(), x, create_graph=True)
            return F.cross_entropy(output, batch[1]) + slope.square().mean()

    return Penalised()


@program
def state_carried_from_step_to_step():
    class Carries(Net):
        def __init__(self):
            super().__init__()
            self.cell = nn.GRUCell(4, 4)
            self.register_buffer("hidden", torch.zeros(4, 4))

        def training_step(self, batch):
            hidden = self.cell(batch[0], self.hidden)
            self.hidden = hidden.detach()
            return super().training_step((hidden, batch[1]))

    return Carries()


@program
def an_optimizer_of_the_users_that_writes_to_data():
    class Plain(torch.optim.Optimizer):
        def step(self):
            for group in self.param_groups:
                for parameter in group["params"]:
                    parameter.data.add_(parameter.grad.data, alpha=-group["lr"])

    class Own(Net):
        def configure_optimizers(self):
            return Plain(self.parameters(), {"lr": 0.1})

    return Own()


@program
def batches_of_many_kinds():
    @dataclasses.dataclass
    class Pair:
        x: torch.Tensor
        y: torch.Tensor

        def to(self, device):
            return Pair(self.x.to(device), self.y.to(device))

    class Any(Net):
        def training_step(self, batch):
            pair = batch if isinstance(batch, Pair) else Pair(batch["x"], batch["y"])
            return super().training_step((torch.as_tensor(pair.x), pair.y))

    x, y = BATCHES[0]
    return Any(), [Pair(x, y), UserDict(x=x, y=y, text=["a"]), OrderedDict(x=x.numpy(), y=y, none=None)]


@program
def nested_tensors():
    class Nested(Net):
        def training_step(self, batch):
            return self(batch.values()).square().mean() if batch.layout is torch.jagged else self(batch.unbind()[0]).mean()

    ragged = [torch.ones(3, 4), torch.ones(2, 4)]
    return Nested(), [torch.nested.nested_tensor(ragged, layout=torch.jagged), torch.nested.as_nested_tensor(ragged)]


@program
def a_loader_that_drops_samples_that_are_none():
    def collate(samples):
        return torch.utils.data.default_collate([sample for sample in samples if sample is not None])

    samples = [None if index % 5 == 0 else sample for index, sample in enumerate(zip(X, Y, strict=True))]
    return Net(), DataLoader(samples, batch_size=4, shuffle=True, collate_fn=collate)


@program
def a_loader_over_data_that_changes_between_epochs():
    class Growing(Dataset):
        count = 4

        def __len__(self):
            return self.count

        def __getitem__(self, index):
            return X[index], Y[index]

    class Curriculum(Net):
        def on_epoch_started(self, engine):
            self.begin(engine.state.epoch)

        def begin(self, epoch):
            self.samples.count = {1: 12, 2: 4, 3: 16}[epoch]

    module = Curriculum()
    module.samples = Growing()
    return module, DataLoader(module.samples, batch_size=4, shuffle=True)


@program
def a_buffer_that_the_module_fills():
    class Collects(Net):
        def on_epoch_started(self, engine):
            self.begin(engine.state.epoch)

        def begin(self, epoch):
            self.buffer[:] = BATCHES[: 4 - epoch]

    module = Collects()
    module.buffer = BATCHES[:1]
    return module, module.buffer
