"""What `fit` with its defaults costs on a small step: ratio to the hand-written loop that does the same work.

The MLP 64 -> 64 -> 10, ReLU, SGD, batches of 32, one thread, CPU. The loop keeps what fit keeps: the mean loss, and a stop where
the loss is not finite. Epochs of both are interleaved; the ratio is that of the medians.

Run: python benchmarks/fit_overhead.py [--epochs N]
"""

from __future__ import annotations

import argparse
import io
from math import isfinite
from statistics import median
from time import perf_counter

import torch
from torch import nn
from torch.nn import functional as F

from framework import Progress, TrainModule, seed_all

BATCHES = 400


class MLP(TrainModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch):
        x, y = batch
        return F.cross_entropy(self(x), y)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)


class Interleaved:
    """Lets the other loop run one epoch before each epoch of fit, so that both see the same machine."""

    def __init__(self, other) -> None:
        self.other = other
        self.times: list[float] = []

    def on_epoch_started(self):
        self.other()
        self.began = perf_counter()

    def on_epoch_completed(self):
        self.times.append(perf_counter() - self.began)


def hand_written(model, optimizer, batches, times):
    began = perf_counter()
    total = count = 0
    for batch in batches:
        x, y = batch
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        value = loss.item()
        if not isfinite(value):
            raise ArithmeticError(value)
        loss.backward()
        optimizer.step()
        total += value * len(x)
        count += len(x)
    times.append(perf_counter() - began)
    return total / count


def measure(epochs: int) -> tuple[float, float]:
    """Returns microseconds a step: hand-written, fit."""
    seed_all(0)
    batches = [(torch.randn(32, 64), torch.randint(10, (32,))) for _ in range(BATCHES)]
    model = MLP()
    optimizer = model.configure_optimizers()
    times: list[float] = []
    interleaved = Interleaved(lambda: hand_written(model, optimizer, batches, times))
    progress = Progress(stream=io.StringIO())
    MLP().fit(batches, max_epochs=epochs, handlers=[interleaved, progress], progress=False)
    warm = epochs // 5
    return tuple(median(series[warm:]) / BATCHES * 1e6 for series in (times, interleaved.times))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=60)
    torch.set_num_threads(1)
    loop, fitted = measure(parser.parse_args().epochs)
    print("| loop | us a step | ratio |\n| --- | ---: | ---: |")
    print(f"| hand-written | {loop:.1f} | 1.000 |")
    print(f"| fit, defaults | {fitted:.1f} | {fitted / loop:.3f} |")


if __name__ == "__main__":
    main()
