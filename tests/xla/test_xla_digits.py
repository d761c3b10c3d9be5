"""A whole fit through torch_xla: a CNN on real handwritten digits, with everything that fit can do switched on."""

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.classification import MulticlassAccuracy

from framework import Schedule, TrainModule, seed_all


class Digits(TrainModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, 16, 3, stride=2, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(0.1),
            nn.Linear(16 * 16, 10),
        )

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch):
        x, y = batch
        return F.cross_entropy(self(x), y)

    def evaluation_step(self, batch):
        x, y = batch
        return self(x), y

    def prediction_step(self, batch):
        return self(batch[0]).argmax(1)

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=1e-2)

    def configure_schedulers(self, optimizers, total_steps):
        return Schedule(OneCycleLR(optimizers["main"], max_lr=2e-2, total_steps=total_steps + 1), every="step")

    def configure_metrics(self):
        return {"accuracy": MulticlassAccuracy(num_classes=10)}


@pytest.fixture(scope="module")
def data():
    digits = load_digits()
    x, y = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16, torch.tensor(digits.target)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    train, held_out = order[:1408], order[-360:]
    return (
        DataLoader(TensorDataset(x[train], y[train]), 32, shuffle=True),
        DataLoader(TensorDataset(x[held_out], y[held_out]), 120),
    )


def test_a_cnn_learns_digits_and_is_used_afterwards(data):
    train, held_out = data
    seed_all(0)
    model = Digits()
    settings = {"accelerator": "tpu", "accumulate": 2, "clip_norm": 1.0, "progress": False}
    result = model.fit(train, held_out, max_epochs=6, **settings)
    assert result.status == "completed"
    assert result.state.optimizer_steps == {"main": 6 * 22}
    assert result.metrics["val/accuracy"] >= 0.96
    assert model.device.type == "xla"

    truth = torch.cat([y for _, y in held_out])
    predicted = model.predict(held_out)  # on XLA, as the fit
    assert predicted.device.type == "cpu"
    assert model.device.type == "xla"
    on_xla = model.evaluate(held_out)
    on_cpu = model.evaluate(held_out, accelerator="cpu")
    assert model.device.type == "cpu"
    assert on_xla["test/accuracy"] == pytest.approx(result.metrics["val/accuracy"], abs=1e-6)
    assert on_cpu["test/accuracy"] == pytest.approx(on_xla["test/accuracy"], abs=1e-6)
    assert torch.equal(model.predict(held_out, accelerator="cpu"), predicted)
    assert (predicted == truth).float().mean() >= 0.96

    again = model.fit(train, held_out, max_epochs=1, **settings)  # back to XLA, with new parameters
    assert again.metrics["val/accuracy"] >= 0.9
