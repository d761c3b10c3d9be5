"""The model and how it trains: a small CNN."""

import torch
from torch import nn
from torch.nn import functional as F
from torchmetrics.classification import MulticlassAccuracy

from framework import TrainModule, warmup_schedule


class Classifier(TrainModule):
    def __init__(self, classes: int = 10, width: int = 16, dropout: float = 0.3, lr: float = 4e-3) -> None:
        super().__init__()
        self.classes, self.lr = classes, lr
        self.net = nn.Sequential(
            *(nn.Conv2d(1, width, 5, padding=2), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(width, 2 * width, 3, padding=1), nn.BatchNorm2d(2 * width), nn.ReLU(), nn.AdaptiveMaxPool2d(7)),
            *(nn.Flatten(), nn.Dropout(dropout), nn.Linear(2 * width * 49, classes)),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Returns a score for each class, (batch, classes). images: (batch, 1, height, width)."""
        return self.net(images)

    def training_step(self, batch):
        images, labels = batch
        return F.cross_entropy(self(images), labels)

    def evaluation_step(self, batch):
        images, labels = batch
        scores = self(images)
        return {"loss": F.cross_entropy(scores, labels), "accuracy": (scores, labels)}  # a number, and a pair for that metric

    def prediction_step(self, batch):
        images, _ = batch
        return self(images).argmax(dim=1)

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=self.lr, weight_decay=0.05)

    def configure_schedulers(self, optimizers, total_steps):
        return warmup_schedule(optimizers["main"], total_steps)  # up for a tenth of the run, then down by a cosine

    def configure_metrics(self):
        return {"accuracy": MulticlassAccuracy(num_classes=self.classes, average="micro")}
