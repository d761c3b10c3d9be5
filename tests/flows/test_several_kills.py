"""Kill one of several processes with SIGKILL; the run goes on from its last checkpoint, to the end of one never killed."""

import os
import signal

import pytest
import torch

import framework.checkpoint.files as files
from framework import EMA, Events
from tests.distributed.ranks import on_ranks, run_ranks
from tests.flows.agents import Agent
from tests.flows.several import furthest, loader, made
from tests.flows.several_cases import whole

DIED = "Rank 1 has ended without a word: killed, out of memory, or its machine gone? The other ranks end too.\n"


class Killed:
    """Kills rank 1 at its start of an iteration."""

    all_ranks = True

    def __init__(self, iteration):
        self.iteration = iteration

    def on_iteration_started(self, engine):
        if engine.state.iteration == self.iteration and os.environ["RANK"] == "1":
            os.kill(os.getpid(), signal.SIGKILL)


def kill_in_save(call):
    """Kills rank 1 at a call that brings a file of its own to the disk."""
    calls, sync = [], files.sync

    def dying(file):
        calls.append(file)
        if len(calls) == call and os.environ["RANK"] == "1":
            os.kill(os.getpid(), signal.SIGKILL)
        sync(file)

    files.sync = dying


def train(rank, folder, strategy, where=None, at=None):
    if where == "save":
        kill_in_save(at)
    module = made(optimizer="adamw", dropout=0.3)
    module.fit(
        loader(8),
        loader(8, samples=41, seed=2),
        max_epochs=4,
        progress=False,
        seed=3,
        accelerator="cpu",
        strategy=strategy,
        clip_norm=1.0,
        save_every=Events.ITERATION_COMPLETED(every=3),
        run_dir=folder / "run",
        handlers=[EMA(0.9), *([Killed(at)] if where == "step" else [])],
    )
    done = whole(module)
    torch.save(done, folder / f"{rank}.pt")
    return done


def train_once_killed(rank, folder, strategy, where, at):
    first = os.environ["TORCHELASTIC_RESTART_COUNT"] == "0"
    train(rank, folder, strategy, where if first else None, at)


@pytest.mark.parametrize(
    ("strategy", "size", "where", "at"),
    [("ddp", 2, "step", 17), ("fsdp", 2, "step", 17), ("fsdp", 2, "save", 3)],
)
def test_torchrun_starts_a_killed_run_again_and_it_ends_with_the_same_bits(tmp_path, strategy, size, where, at):
    for name in ("killed", "never"):
        (tmp_path / name).mkdir()
    with Agent(size, train_once_killed, tmp_path / "killed", strategy, where, at, folder=tmp_path / "out", max_restarts=1) as agent:
        assert agent.end() == 0, agent.errors()
        told = agent.errors()
    assert [len(texts) for texts in told] == [2] * size
    assert "".join(text for texts in told for text in texts) in (DIED, "")  # torchrun may end the others first
    for rank, expected in enumerate(on_ranks(size, train, tmp_path / "never", strategy)):
        assert furthest(torch.load(tmp_path / "killed" / f"{rank}.pt"), expected) == 0


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_four_processes_of_which_one_is_killed_and_all_started_again_end_with_the_same_bits(tmp_path, strategy):
    for name in ("killed", "never"):
        (tmp_path / name).mkdir()
    killed = run_ranks(4, train, tmp_path / "killed", strategy, "step", 11)
    assert [each.code for each in killed] == [1, -signal.SIGKILL, 1, 1]
    assert sorted(each.stderr for each in killed) == ["", "", "", DIED]
    again = on_ranks(4, train, tmp_path / "killed", strategy)
    never = on_ranks(4, train, tmp_path / "never", strategy)
    assert all(furthest(one, other) == 0 for one, other in zip(again, never, strict=True))
