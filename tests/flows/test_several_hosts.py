"""Two hosts, with a cable between them: training on both equals one process, and ends on both when the cable is cut."""

from contextlib import ExitStack
from pathlib import Path
from time import monotonic

import pytest
import torch

import framework.distributed.heartbeat as heartbeat
import framework.distributed.lookout as lookout
from tests.flows.agents import Agent, say
from tests.flows.hosts import WHY_NOT, two_hosts
from tests.flows.several import Net, furthest, loader, made
from tests.flows.several_cases import run

pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))


def train(rank, folder):
    torch.save(run(made(), 2)["weights"], folder / f"{rank}.pt")


class Endless(Net):
    def on_iteration_completed(self, engine):
        if engine.state.iteration == 9:
            say("here")


def train_on(rank, run_dir):
    heartbeat.SILENT_S, lookout._STUCK_S = 2.0, 1.0
    Endless().fit(loader(8), max_epochs=10**6, progress=False, accelerator="cpu", run_dir=run_dir)


def is_there(number):
    """Tells whether a process runs; one that has ended may wait for its agent."""
    status = Path(f"/proc/{number}/status")
    return status.exists() and "State:\tZ" not in status.read_text()


def test_two_hosts_train_what_one_process_does_and_a_cut_cable_ends_both(tmp_path):
    with two_hosts() as hosts, ExitStack() as stack:
        agents = [stack.enter_context(Agent(1, train, tmp_path, folder=tmp_path / each.name, host=each)) for each in hosts]
        assert [each.end() for each in agents] == [0, 0]
        alone = run(made(), 1)["weights"]
        assert all(furthest(torch.load(tmp_path / f"{rank}.pt"), alone) < 1e-6 for rank in (0, 1))

        cut = [
            stack.enter_context(Agent(1, train_on, tmp_path / "run", folder=tmp_path / f"{each.name}-cut", host=each))
            for each in hosts
        ]
        for each in cut:
            each.wait_for("here")
        hosts[1].cut()
        deadline = monotonic() + 30
        workers = [number for each in cut for number in each.workers()]
        while any(map(is_there, workers)):
            assert monotonic() < deadline, [each.errors() for each in cut]
        here, there = (text for each in cut for (text,) in each.errors())
        assert here == "Rank 1 has not been heard of for 2 s: is the machine gone, or the network? The other ranks end too.\n"
        assert there.startswith("Rank 1 cannot reach the store of the run for ")
        assert len(there.splitlines()) == 1
