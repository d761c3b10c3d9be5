"""How long a save of 256 MiB keeps training waiting: ratios to `torch.save` of a new file, which neither syncs nor sums up.

One thread. Each round saves once in every way, on the same disk. The stores keep one checkpoint, so a save of theirs also removes
256 MiB. The background saver may finish before the next way begins: what counts is what its `save` takes. `newest` verifies, as
before a resume.

Run: python benchmarks/checkpoint.py [--rounds N] [--mebibytes N] [--folder PATH]
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from shutil import rmtree
from statistics import median
from tempfile import mkdtemp
from time import perf_counter

import torch

from framework.checkpoint import BackgroundSaver, CheckpointStore

TENSORS = 64


def seconds(function: Callable[[], object]) -> float:
    began = perf_counter()
    function()
    return perf_counter() - began


def measure(folder: Path, rounds: int, mebibytes: int) -> dict[str, list[float]]:
    """Returns seconds by name; the first round, which warms up, is left out."""
    state = {f"layer.{n}": torch.randn((mebibytes << 18) // TENSORS) for n in range(TENSORS)}
    parts = {"model": state, "run": {"step": 1}}
    stores = {name: CheckpointStore(folder / name, keep=1) for name in ("sync", "background")}
    for store in stores.values():
        store.prepare()
    saver = BackgroundSaver(stores["background"])
    plain = folder / "plain.pt"
    times: dict[str, list[float]] = {}
    for step in range(rounds + 1):
        plain.unlink(missing_ok=True)
        ways = {
            "torch.save": lambda: torch.save(parts, plain),
            "CheckpointStore.save": lambda step=step: stores["sync"].save(step, parts),
            "BackgroundSaver.save": lambda step=step: saver.save(step, parts),
            "BackgroundSaver.wait, afterwards": saver.wait,
            "CheckpointStore.newest": stores["sync"].newest,
            "torch's clone of everything": lambda: [tensor.clone() for tensor in state.values()],
        }
        for name, function in ways.items():
            os.sync()  # nobody pays for what the one before has left to be written
            times.setdefault(name, []).append(seconds(function))
    saver.close()
    return {name: series[1:] for name, series in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--mebibytes", type=int, default=256)
    parser.add_argument("--folder", type=Path, default=None, help="where to write; a temporary one if left out")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    folder = Path(mkdtemp(dir=arguments.folder))
    try:
        times = measure(folder, arguments.rounds, arguments.mebibytes)
    finally:
        rmtree(folder)
    least, middle = min(times["torch.save"]), median(times["torch.save"])
    print("| way | s, median | ratio of medians | ratio of minima |\n| --- | ---: | ---: | ---: |")
    for name, series in times.items():
        print(f"| {name} | {median(series):.3f} | {median(series) / middle:.2f} | {min(series) / least:.2f} |")


if __name__ == "__main__":
    main()
