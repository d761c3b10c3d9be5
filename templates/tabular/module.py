"""The model and how it trains: an MLP on the columns of a table."""

import torch
from torch import nn
from torch.nn import functional as F
from torchmetrics.classification import BinaryAccuracy, BinaryAUROC

from framework import TrainModule


class Classifier(TrainModule):
    def __init__(self, columns: int = 30, width: int = 32, dropout: float = 0.3, lr: float = 2e-3) -> None:
        super().__init__()
        self.lr = lr
        self.net = nn.Sequential(
            nn.BatchNorm1d(columns, affine=False),  # standardises the columns; what it needs for that is saved with the weights
            *(nn.Linear(columns, width), nn.ReLU(), nn.Dropout(dropout)),
            *(nn.Linear(width, width), nn.ReLU(), nn.Dropout(dropout)),
            nn.Linear(width, 1),
        )

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Returns the log-odds of "yes", (batch,). rows: (batch, columns)."""
        return self.net(rows).squeeze(1)

    def training_step(self, batch):
        rows, answers = batch
        return F.binary_cross_entropy_with_logits(self(rows), answers)

    def evaluation_step(self, batch):
        rows, answers = batch
        odds = self(rows)
        pair = odds.sigmoid(), answers.int()
        return {"loss": F.binary_cross_entropy_with_logits(odds, answers), "accuracy": pair, "auroc": pair}

    def prediction_step(self, batch):
        rows, _ = batch
        return self(rows).sigmoid()  # the probability of "yes"

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=self.lr, weight_decay=0.01)

    def configure_metrics(self):
        return {"accuracy": BinaryAccuracy(), "auroc": BinaryAUROC()}
