"""Evaluation on several ranks of which some have nothing left: they take part, and count for nothing."""

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics import MeanSquaredError

from framework import TrainModule
from tests.distributed.ranks import on_ranks


class Line(TrainModule):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(2, 1)

    def forward(self, x):
        return self.layer(x)

    def training_step(self, batch):
        x, y = batch
        self.log("things", x.sum(), n=3)
        return F.mse_loss(self(x), y)

    def evaluation_step(self, batch):
        x, y = batch
        self.log("logged", y.sum(), n=5)
        return {"returned": x.sum(), "error": (self(x), y)}

    def configure_metrics(self):
        return {"error": MeanSquaredError()}

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def loader(samples, batch_size):
    x = torch.arange(2.0 * samples).reshape(samples, 2) / 10
    return DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), batch_size=batch_size)


def measure(rank):
    module = Line()
    found = [module.evaluate(loader(samples, 1)) for samples in (1, 2, 5)]
    result = module.fit(loader(5, 1), loader(1, 1), max_epochs=1, seed=0, accelerator="cpu", progress=False)
    return found, result.metrics["train/things"], sorted(result.metrics)


def test_fewer_samples_than_ranks():
    alone, _, names = measure(0)
    first, *others = on_ranks(4, measure)
    for of_rank, results in zip(first[0], alone, strict=True):
        assert of_rank.keys() == results.keys()
        assert all(abs(of_rank[name] - results[name]) < 1e-6 for name in results)
    assert others == [first] * 3
    sums = loader(5, 1).dataset.tensors[1].flatten()
    assert abs(first[1] - sums.mean().item()) < 1e-6  # of five samples; what fills up has none
    assert first[2] == names
