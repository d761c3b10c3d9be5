"""What `fit` adds to a step of several processes: its throughput as a share of that of a hand-written loop with torch's DDP.

Two MLPs, SGD, batches of 32 a process, one thread, on the CPU over gloo, or on GPUs with --accelerator cuda. The loop keeps what
`fit` keeps: the mean loss, and on the CPU a stop where the loss is not finite. Epochs of both are interleaved in one run;
the share is that of the medians. With one process the loop has no DDP.

Run: python benchmarks/scaling.py [--processes 1 2] [--epochs N] [--accelerator cpu]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from itertools import pairwise
from math import isfinite
from statistics import median
from time import perf_counter

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from framework import TrainModule, rank, seed_all, world_size

BATCHES = 200
BATCH = 32
SIZES = {"64 -> 64 -> 10": (64, 64), "256 -> 1024 -> 1024 -> 10": (256, 1024, 1024)}


class MLP(TrainModule):
    def __init__(self, sizes: tuple[int, ...]) -> None:
        super().__init__()
        layers = [layer for one, two in pairwise(sizes) for layer in (nn.Linear(one, two), nn.ReLU())]
        self.net = nn.Sequential(*layers, nn.Linear(sizes[-1], 10))

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch):
        x, y = batch
        return F.cross_entropy(self(x), y)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)


class HandWritten:
    """Runs one epoch of the hand-written loop before each epoch of fit, on each rank, so that both see the same machine."""

    all_ranks = True

    def __init__(self, sizes: tuple[int, ...], data) -> None:
        self.sizes = sizes
        self.data = data
        self.loop_s: list[float] = []
        self.fit_s: list[float] = []

    def on_started(self, engine):
        device = engine.state.module.device
        model = MLP(self.sizes).to(device)
        self.model = DistributedDataParallel(model) if world_size() > 1 else model
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01)
        self.batches = [tuple(part.to(device) for part in batch) for batch in self.data]
        self.checks = device.type == "cpu"

    def on_epoch_started(self):
        began = perf_counter()
        losses, count = [], 0
        for x, y in self.batches:
            self.optimizer.zero_grad()
            loss = F.cross_entropy(self.model(x), y)
            value = loss.item() if self.checks else loss.detach()
            if self.checks and not isfinite(value):
                raise ArithmeticError(value)
            loss.backward()
            self.optimizer.step()
            losses.append(value * len(x))
            count += len(x)
        _ = float(sum(losses)) / count
        self.loop_s.append(perf_counter() - began)
        self.began = perf_counter()

    def on_epoch_completed(self, engine):
        _ = engine.state.metrics["train/loss"]
        self.fit_s.append(perf_counter() - self.began)


def measure(epochs: int, accelerator: str) -> None:
    """Prints a line of the table for each model; run by torchrun."""
    torch.set_num_threads(1)
    for name, sizes in SIZES.items():
        seed_all(rank())
        data = [(torch.randn(BATCH, sizes[0]), torch.randint(10, (BATCH,))) for _ in range(BATCHES)]
        timed = HandWritten(sizes, data)
        # data_order="loader": each process brings data of its own, as the loop does
        MLP(sizes).fit(data, max_epochs=epochs, handlers=[timed], progress=False, accelerator=accelerator, data_order="loader")
        loop, fit = (median(times[2:]) / BATCHES * 1e6 for times in (timed.loop_s, timed.fit_s))
        if rank() == 0:
            print(f"| {world_size()} | {name} | {loop:.0f} | {fit:.0f} | {loop / fit:.3f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--epochs", type=int, default=22)
    parser.add_argument("--accelerator", default="cpu")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.epochs, arguments.accelerator)
        return
    print("| processes | model | DDP by hand, us a step | fit, us a step | throughput of fit |")
    print("| ---: | --- | ---: | ---: | ---: |", flush=True)
    for count in arguments.processes:
        launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count), __file__]
        settings = ["--measure", "--epochs", str(arguments.epochs), "--accelerator", arguments.accelerator]
        subprocess.run([*launch, *settings], check=True)


if __name__ == "__main__":
    main()
