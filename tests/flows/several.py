"""What the tests of several processes train: small, the same on each rank, and on one process at the same global batch."""

import torch
import torch._dynamo  # DistributedDataParallel imports it, for seconds, in each process that has not yet
import torch.distributed.fsdp
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.classification import MulticlassAccuracy

from framework import TrainModule, seed_all

CLASSES = 3
GLOBAL = 32  # samples of a step of all ranks


class Net(TrainModule):
    """A classifier with two blocks of one class, so that FSDP shards it in three parts."""

    def __init__(self, optimizer="sgd", dropout=0.0):
        super().__init__()
        self.optimizer = optimizer
        self.into = nn.Linear(6, 16)
        self.layers = nn.ModuleList(nn.Linear(16, 16) for _ in range(2))
        self.drop = nn.Dropout(dropout)
        self.out = nn.Linear(16, CLASSES)

    def forward(self, x):
        x = self.into(x)
        for layer in self.layers:
            x = self.drop(torch.tanh(layer(x)))
        return self.out(x)

    def training_step(self, batch):
        x, y = batch
        prediction = self(x)
        self.log("right", (prediction.argmax(1) == y).float().mean())
        return F.cross_entropy(prediction, y)

    def evaluation_step(self, batch):
        x, y = batch
        prediction = self(x)
        self.log("loss", F.cross_entropy(prediction, y))
        return prediction, y

    def configure_metrics(self):
        return {"accuracy": MulticlassAccuracy(num_classes=CLASSES, average="micro")}

    def configure_optimizers(self):
        if self.optimizer == "adamw":
            return torch.optim.AdamW(self.parameters(), lr=1e-2)
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


def made(**arguments):
    """Returns a module with the same weights in every process."""
    seed_all(0)
    return Net(**arguments)


def dataset(samples=103, seed=1):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(samples, 6, generator=generator)
    return TensorDataset(x, (x[:, 0] > 0).long() + (x[:, 1] > 0.5).long())


def loader(batch, samples=103, seed=1, **options):
    return DataLoader(dataset(samples, seed), batch_size=batch, **{"shuffle": True, **options})


def weights(module):
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def furthest(one, other):
    """Returns the largest difference between two sets of weights, in any entry."""
    assert one.keys() == other.keys()
    return max((one[name].double() - other[name].double()).abs().max().item() for name in one)
