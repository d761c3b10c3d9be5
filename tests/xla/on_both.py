"""A small module, trained on the CPU and through torch_xla, and how far apart the two come out."""

import copy

import torch
from torch import nn
from torch.nn import functional as F

from framework import TrainModule


class Net(TrainModule):
    """Four inputs, two outputs, and an optimizer that the test chooses."""

    def __init__(self, make_optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9), width=8):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, width), nn.Tanh(), nn.Linear(width, 2))
        self.make_optimizer = make_optimizer

    def forward(self, x):
        return self.layers(x)

    def training_step(self, batch):
        x, y = batch
        return F.mse_loss(self(x), y)

    def evaluation_step(self, batch):
        x, y = batch
        return {"mse": F.mse_loss(self(x), y)}

    def configure_optimizers(self):
        return self.make_optimizer(self.parameters())


def on_both(module, *args, **kwargs):
    """Fits a copy of the module on the CPU and one on XLA; returns (copy, result) of each."""
    pairs = []
    for accelerator in ("cpu", "tpu"):
        twin = copy.deepcopy(module)
        pairs.append((twin, twin.fit(*args, accelerator=accelerator, progress=False, log_every=1, **kwargs)))
    return pairs


def curve(result, name="train/loss"):
    return torch.tensor([point.value for point in result.series[name]], dtype=torch.float64)


def weights(module):
    return torch.cat([parameter.detach().cpu().double().flatten() for parameter in module.parameters()])


def difference(one, other):
    """Returns the largest difference, relative to the largest magnitude."""
    return float((one - other).abs().max() / other.abs().max())
