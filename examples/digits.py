"""Trains a small CNN on scikit-learn's handwritten digits: `python examples/digits.py [--accelerator amp]`."""

import argparse

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset, random_split
from torchmetrics.classification import MulticlassAccuracy

from framework import TrainModule, seed_all


class Digits(TrainModule):
    def __init__(self, width: int = 32, lr: float = 3e-3) -> None:
        super().__init__()
        self.lr = lr
        self.net = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(0.2),
            nn.Linear(2 * width * 16, 10),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)

    def training_step(self, batch):
        x, y = batch
        return F.cross_entropy(self(x), y)  # a loss: the backend does the rest

    def evaluation_step(self, batch):
        x, y = batch
        return self(x), y  # (y_pred, y): fed to the metrics

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=self.lr)

    def configure_schedulers(self, optimizers, total_steps):
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizers["main"], T_max=8)

    def configure_metrics(self):
        return {"accuracy": MulticlassAccuracy(num_classes=10, average="micro")}

    def on_epoch_completed(self, engine):  # a hook: runs after each epoch's validation
        if engine.state.metrics["val/accuracy"] > 0.995:
            engine.terminate(reason="The validation accuracy is above 99.5 %.")


def load(batch_size: int = 64) -> tuple[DataLoader, DataLoader]:
    """Returns the 1,797 images of 8x8 pixels in batches: 1,437 to train on, 360 held out."""
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
    train, held_out = random_split(
        TensorDataset(images, torch.tensor(digits.target)), [1437, 360], generator=torch.Generator().manual_seed(0)
    )
    return DataLoader(train, batch_size, shuffle=True), DataLoader(held_out, 360)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accelerator", default="auto", help="auto, cpu, cuda, mps, amp, apex or tpu")
    parser.add_argument("--epochs", type=int, default=8)
    arguments = parser.parse_args()

    torch.set_num_threads(1)  # a model this small gains nothing from more
    seed_all(0)
    train, held_out = load()
    model = Digits()
    result = model.fit(train, held_out, max_epochs=arguments.epochs, accelerator=arguments.accelerator)

    accuracy = model.evaluate(held_out)["test/accuracy"]
    print(f"{result.status}: {result.reason}")
    print(f"accuracy on held-out digits: {accuracy:.1%}")
    assert accuracy >= 0.97, f"expected at least 97 %, got {accuracy:.1%}"


if __name__ == "__main__":
    main()
