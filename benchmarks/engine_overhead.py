"""What the engine costs: microseconds an iteration of an empty step, with and without handlers, against peers where installed.

The peers are pytorch-ignite and Lightning; neither is needed. Rounds of all are interleaved and the smallest of each is taken.

Run: python benchmarks/engine_overhead.py [--iterations N]
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import warnings
from collections.abc import Callable
from itertools import repeat
from time import perf_counter

from framework import Engine, Events

ROUNDS = 9


def step(engine, batch):
    pass


def handler(engine):
    pass


def bare_loop(iterations: int) -> None:
    for batch in repeat(1, iterations):
        step(None, batch)


def our_engine(handlers: int = 0, every: int | None = None) -> Callable[[int], None]:
    event = Events.ITERATION_COMPLETED if every is None else Events.ITERATION_COMPLETED(every=every)

    def run(iterations: int) -> None:
        engine = Engine(step)
        for _ in range(handlers):
            engine.add_event_handler(event, handler)
        engine.run(repeat(1), epoch_length=iterations)

    return run


def ignite_engine(iterations: int) -> None:
    from ignite.engine import Engine as IgniteEngine

    IgniteEngine(step).run(repeat(1), max_epochs=1, epoch_length=iterations)


def lightning_trainer(iterations: int) -> None:
    import lightning
    import torch

    class Empty(lightning.LightningModule):
        automatic_optimization = False

        def training_step(self, batch, index):
            pass

        def configure_optimizers(self):
            return []

        def train_dataloader(self):
            return torch.utils.data.DataLoader(range(iterations), batch_size=None)

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    trainer = lightning.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Empty())


def measure(runs: dict[str, tuple[Callable[[int], None], int]]) -> dict[str, float]:
    """Returns microseconds an iteration by name; each run comes with the share of the iterations it gets."""
    best: dict[str, float] = {}
    for _ in range(ROUNDS):
        for name, (run, iterations) in runs.items():
            began = perf_counter()
            run(iterations)
            best[name] = min(best.get(name, float("inf")), (perf_counter() - began) / iterations * 1e6)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--iterations", type=int, default=200_000)
    n = parser.parse_args().iterations
    warnings.simplefilter("ignore")
    never = 10**9
    runs = {
        "bare for loop": (bare_loop, n),
        "engine": (our_engine(), n),
        "engine, 1 handler": (our_engine(1), n),
        "engine, 5 handlers": (our_engine(5), n),
        "engine, 5 handlers not due": (our_engine(5, every=never), n),
    }
    if importlib.util.find_spec("ignite"):
        runs["pytorch-ignite"] = (ignite_engine, n // 20)
    if importlib.util.find_spec("lightning"):
        runs["Lightning"] = (lightning_trainer, n // 100)
    times = measure(runs)
    print("| empty step | us an iteration | more a handler |\n| --- | ---: | ---: |")
    for name, microseconds in times.items():
        count = 1 if "1 handler" in name else 5 if "5 handlers" in name else 0
        more = f"{(microseconds - times['engine']) / count:.3f}" if count else ""
        print(f"| {name} | {microseconds:.3f} | {more} |")


if __name__ == "__main__":
    main()
