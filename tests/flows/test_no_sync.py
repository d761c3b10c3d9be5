"""fit reads nothing off a device in a step: values wait until they are read together."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from waiting_device import Device

from framework import TrainModule

READS = ("item", "tolist", "__float__", "__bool__", "__int__", "cpu", "numpy")


class Module(TrainModule):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 1)

    def training_step(self, batch):
        loss = F.mse_loss(self.layer(batch), torch.zeros(4, 1))
        self.log("norm", self.layer.weight.norm())
        return {"loss": loss, "bias": self.layer.bias.sum()}

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)


@pytest.fixture
def reads(monkeypatch):
    """The methods by which a tensor was read, in order."""
    calls = []
    for name in READS:
        original = getattr(torch.Tensor, name)
        monkeypatch.setattr(torch.Tensor, name, lambda *args, _o=original, _n=name, **kw: calls.append(_n) or _o(*args, **kw))
    return calls


@pytest.mark.contract("t")
def test_three_curves_over_forty_steps_are_read_four_times_each(reads):
    result = Module().fit([torch.ones(4, 3)] * 40, max_epochs=1, log_every=10, accelerator=Device(), clip_norm=None, progress=True)
    assert reads == ["tolist"] * 12
    assert [point.iteration for point in result.series["train/norm"]] == [10, 20, 30, 40]


def test_the_check_sees_reads(reads):
    Module().fit([torch.ones(4, 3)] * 4, max_epochs=1, accelerator="cpu", progress=False)
    assert reads.count("item") == 12  # on the CPU each value is there already; the loss is looked at before the step
