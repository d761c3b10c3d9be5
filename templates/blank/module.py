"""The model and how it trains. Start here: put your own model in its place."""

import torch
from torch import nn
from torch.nn import functional as F
from torchmetrics.classification import MulticlassAccuracy

from framework import TrainModule


class Model(TrainModule):
    def __init__(self, hidden: int = 64, lr: float = 3e-3) -> None:
        super().__init__()
        self.lr = lr
        self.net = nn.Sequential(nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, 10))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)

    def training_step(self, batch):
        x, y = batch
        return F.cross_entropy(self(x), y)  # a loss: the framework does the rest

    def evaluation_step(self, batch):
        x, y = batch
        return self(x), y  # (y_pred, y), for every metric

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=self.lr)

    def configure_metrics(self):
        return {"accuracy": MulticlassAccuracy(num_classes=10, average="micro")}
