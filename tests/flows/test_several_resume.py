"""A run of several processes goes on: after a kill with the same bits, with another number of processes with the same samples."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from framework import EMA
from tests.distributed.ranks import on_ranks
from tests.flows.several import dataset, furthest, loader, made, weights

ROOT = Path(__file__).parents[2]
GLOBAL = 16
COMMON = {"progress": False, "seed": 3, "accelerator": "cpu", "batch": "global", "accumulate": 2, "clip_norm": 1.0}


class Seen:
    """Keeps the samples of each step of this rank."""

    all_ranks = True

    def __init__(self):
        self.samples = []

    def on_get_batch_completed(self, engine):
        x, _ = engine.state.batch
        whole = dataset().tensors[0]
        self.samples.append([int((whole == each).all(1).nonzero()[0, 0]) for each in x])


def train(rank, size, run_dir, limit, strategy="auto", dropout=0.0):
    module, seen = made(optimizer="adamw", dropout=dropout), Seen()
    settings = {**COMMON, "strategy": strategy} if size > 1 else COMMON
    result = module.fit(
        loader(GLOBAL), loader(8, samples=41, seed=2), run_dir=run_dir, max_iters=limit, handlers=[EMA(0.9), seen], **settings
    )
    module.export(f"{run_dir}.safetensors")
    return seen.samples, result.metrics, [point.value for point in result.series["train/loss"]], type(module).__name__


def launched(size, *arguments):
    return [train(0, 1, *arguments)] if size == 1 else on_ranks(size, train, size, *arguments)


def steps(ranks):
    """Returns the samples of each step, of all ranks in their order."""
    return [[sample for part in parts for sample in part] for parts in zip(*(samples for samples, *_ in ranks), strict=True)]


@pytest.mark.fault(20)
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
@pytest.mark.parametrize("sizes", [(2, 1), (1, 2), (4, 2), (2, 4)], ids=lambda sizes: "to".join(map(str, sizes)))
def test_a_run_goes_on_with_another_number_of_processes(tmp_path, sizes, strategy):
    first, second = sizes
    begun = launched(first, str(tmp_path / "run"), 11, strategy)  # in the middle of the second epoch, and of a window
    gone_on = launched(second, str(tmp_path / "run"), 20, strategy)
    alone = launched(1, str(tmp_path / "alone"), 20)
    assert [sorted(step) for step in (*steps(begun), *steps(gone_on))][:10] == [sorted(step) for step in steps(alone)][:10]
    assert steps(gone_on) == steps(alone)[-len(steps(gone_on)) :]
    one, other = load_file(tmp_path / "run.safetensors"), load_file(tmp_path / "alone.safetensors")
    assert furthest(one, other) < 1e-5
    for _, metrics, losses, _ in gone_on:
        assert metrics == pytest.approx(alone[0][1], abs=1e-4)
        assert losses[-1] == pytest.approx(alone[0][2][-1], abs=1e-4)


SCRIPT = """
import os, signal, sys, torch
from tests.flows.several import loader, made
from framework import Events, on, rank

class Killed:
    all_ranks = True
    @on(Events.ITERATION_STARTED)
    def die(self, engine):
        if rank() == 1 and engine.state.iteration == 17 and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
            os.kill(os.getpid(), signal.SIGKILL)

module = made(optimizer="adamw", dropout=0.3)
module.fit(loader(8), loader(8, samples=41, seed=2), max_epochs=4, progress=False, seed=3, accelerator="cpu", clip_norm=1.0,
    save_every=Events.ITERATION_COMPLETED(every=5), run_dir=sys.argv[1], handlers=[Killed()])
module.export(sys.argv[1] + f".{rank()}.safetensors")
"""


def never_killed(rank, run_dir):
    from framework import Events

    module = made(optimizer="adamw", dropout=0.3)
    module.fit(
        loader(8),
        loader(8, samples=41, seed=2),
        max_epochs=4,
        progress=False,
        seed=3,
        accelerator="cpu",
        clip_norm=1.0,
        save_every=Events.ITERATION_COMPLETED(every=5),
        run_dir=run_dir,
    )
    return weights(module)


def test_a_killed_rank_and_a_restart_end_with_the_bits_of_a_run_never_killed(tmp_path):
    script, run = tmp_path / "train.py", tmp_path / "run"
    script.write_text(SCRIPT)
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--max-restarts", "1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *launch, str(script), str(run)], capture_output=True, text=True, env=environment, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    expected = on_ranks(2, never_killed, tmp_path / "other")
    for rank in range(2):
        assert furthest(load_file(f"{run}.{rank}.safetensors"), expected[rank]) == 0
