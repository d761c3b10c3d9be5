"""Two weights whose gradients are the batch, each with an optimizer of learning rate 1."""

import pytest
import torch
from torch import nn

from framework import AMP, Plain


@pytest.fixture
def cpu():
    return Plain(torch.device("cpu"))


@pytest.fixture
def a():
    return nn.Parameter(torch.zeros(1))


@pytest.fixture
def b():
    return nn.Parameter(torch.zeros(1))


@pytest.fixture
def optimizers(a, b):
    return {"a": torch.optim.SGD([a], lr=1.0), "b": torch.optim.SGD([b], lr=1.0)}


@pytest.fixture
def fp16():
    with pytest.warns(UserWarning, match="fp16 on the CPU"):
        backend = AMP(torch.device("cpu"), "fp16")
    backend.scaler = torch.amp.GradScaler("cpu", init_scale=256.0)
    return backend


class Watcher:
    """Writes down what it is told."""

    def __init__(self):
        self.active = True
        self.seen = []

    def loss_computed(self, loss):
        self.seen.append(("loss_computed", loss.item()))

    def backward_completed(self):
        self.seen.append("backward_completed")

    def optimizer_step_started(self, optimizer):
        self.seen.append("optimizer_step_started")

    def optimizer_step_completed(self, optimizer):
        self.seen.append("optimizer_step_completed")


@pytest.fixture
def watcher():
    return Watcher()
