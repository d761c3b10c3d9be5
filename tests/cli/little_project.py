"""A project of three files that trains in a moment."""

MODULE = """
import os
import signal

import torch
from torch import nn
from torch.nn import functional as F

from framework import TrainModule


class Points(TrainModule):
    def __init__(self, hidden: int = 8, lr: float = 0.1):
        super().__init__()
        self.lr = lr
        self.net = nn.Sequential(nn.Linear(4, hidden), nn.Dropout(0.2), nn.ReLU(), nn.Linear(hidden, 3))

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, engine):
        x, y = batch
        asked, _, iteration = os.environ.get("SIGNAL_AT", "").partition(" ")
        if asked and engine.state.iteration == int(iteration):
            signal.raise_signal(signal.Signals[asked])
        return F.cross_entropy(self(x), y)

    def evaluation_step(self, batch):
        x, y = batch
        y_pred = self(x)
        return {"loss": F.cross_entropy(y_pred, y), "accuracy": (y_pred.argmax(1) == y).float().mean()}

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.lr, momentum=0.9)
"""

DATA = '''
import torch
from torch.utils.data import DataLoader, TensorDataset, random_split


def _points(size):
    x = torch.randn(size, 4, generator=torch.Generator().manual_seed(0))
    return TensorDataset(x, x[:, :3].argmax(1))


def load(batch_size: int = 8, size: int = 60):
    """The split is drawn at random: it is that of the training only where the seed and what was drawn before are the same."""
    train, val, test = random_split(_points(size), [0.6, 0.2, 0.2])
    return DataLoader(train, batch_size, shuffle=True), DataLoader(val, batch_size), DataLoader(test, batch_size)


def load_named(batch_size: int = 8):
    train, val, _ = load(batch_size)
    return {"train": train, "val": {"easy": val, "hard": val}}


def load_test_only():
    return {"test": DataLoader(_points(8), 4)}
'''

CONFIG = """
model:
  class_path: module.Points
  init_args:
    hidden: 8
data:
  class_path: data.load
fit:
  max_epochs: 3
  seed: 0
  run_dir: runs/points
  monitor: val/loss
  accelerator: cpu
  progress: false
"""


def write(folder, config=CONFIG):
    """Writes the project into a folder."""
    for name, text in {"module.py": MODULE, "data.py": DATA, "config.yaml": config}.items():
        (folder / name).write_text(text.lstrip())
