"""What the order of data costs: microseconds a batch of 32 small samples, against the plain DataLoader, in one run.

Rounds of all, short ones, are interleaved and the smallest of each is taken. Workers persist, so their start is not measured.

Run: python benchmarks/data_order.py [--samples N] [--rounds N]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from functools import partial
from time import perf_counter
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from framework.data import ordered
from framework.data.streams import apart, seed_streams

BATCH = 32


class Samples(Dataset):
    """Rows of a tensor."""

    def __init__(self, n: int) -> None:
        self.rows = torch.arange(float(n)).reshape(-1, 1)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.rows[index]


def loader(n: int, workers: int) -> DataLoader:
    return DataLoader(Samples(n), batch_size=BATCH, shuffle=True, num_workers=workers, persistent_workers=workers > 0)


def one_pass(data: Iterable[Any]) -> float:
    """Returns microseconds a batch."""
    batches = 0
    began = perf_counter()
    for _ in data:
        batches += 1
    return (perf_counter() - began) / batches * 1e6


def calls(function: Any, times: int = 2000) -> float:
    """Returns microseconds a call."""
    began = perf_counter()
    for _ in range(times):
        function()
    return (perf_counter() - began) / times * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=6_400)
    parser.add_argument("--rounds", type=int, default=40)
    given = parser.parse_args()
    torch.set_num_threads(1)
    runs: dict[str, Any] = {}
    for workers in (0, 2):
        plain, ours = loader(given.samples, workers), ordered(loader(given.samples, workers), seed=1)
        runs[f"DataLoader, {workers} workers"] = partial(one_pass, plain)
        runs[f"ordered, {workers} workers"] = partial(one_pass, ours)
    sample = ordered(loader(given.samples, 0), seed=1, seeding="sample")
    runs["ordered, 0 workers, a seed a sample"] = partial(one_pass, sample)
    runs["  of this: keeping the streams apart"] = partial(calls, partial(apart, int))
    runs["  of this: seeding them"] = partial(calls, partial(seed_streams, 2**61))
    best: dict[str, float] = {}
    for _ in range(given.rounds):
        for name, run in runs.items():
            best[name] = min(best.get(name, float("inf")), run())
    print("| a batch of 32 | us | more than the plain loader | ratio |\n| --- | ---: | ---: | ---: |")
    for name, microseconds in best.items():
        against = best.get(f"DataLoader, {name.split(', ')[-1]}", best["DataLoader, 0 workers"])
        compared = f"{microseconds - against:+.1f} | {microseconds / against:.2f}" if name.startswith("ordered") else "|"
        print(f"| {name} | {microseconds:.1f} | {compared} |")


if __name__ == "__main__":
    main()
