"""Two hosts, with a cable between them: training on both equals one process, and goes by who is there."""

from contextlib import ExitStack
from pathlib import Path
from time import monotonic

import pytest
import torch

import framework.distributed.heartbeat as heartbeat
import framework.distributed.lookout as lookout
from framework import Events, rank, world_size
from tests.flows.agents import Agent, say
from tests.flows.hosts import WHY_NOT, two_hosts
from tests.flows.several import Net, furthest, loader, made, weights
from tests.flows.several_cases import new, run

pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))
COMMON = {"progress": False, "accelerator": "cpu", "seed": 3}


def train(rank, folder):
    torch.save(run(made(), 2)["weights"], folder / f"{rank}.pt")


class Endless(Net):
    def on_iteration_completed(self, engine):
        if engine.state.iteration == 9:
            say("here")


def be_impatient():
    heartbeat.SILENT_S, lookout._STUCK_S = 2.0, 1.0


def train_on(rank, run_dir):
    be_impatient()
    Endless().fit(loader(8), run_dir=run_dir, max_epochs=10**6, **COMMON)


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


class Elastic(Net):
    """Notes by how many processes it is trained, and ends when there was one, then two, and one again."""

    def __init__(self, sizes):
        super().__init__()
        self.sizes = sizes

    def on_started(self, engine):
        self.enough = engine.state.iteration + 10
        if rank() == 0:
            with self.sizes.open("a") as file:
                file.write(f"{world_size()} ")

    def on_iteration_completed(self, engine):
        if engine.state.iteration == self.enough:
            say(f"{world_size()} processes;")
            if self.sizes.read_text() == "1 2 1 ":
                engine.terminate()


def train_with_whoever_is_there(rank, folder):
    be_impatient()
    module = new(Elastic, folder / "sizes.txt")
    save = Events.ITERATION_COMPLETED(every=5)
    result = module.fit(loader(8), run_dir=folder / "run", batch="global", save_every=save, max_epochs=10**6, **COMMON)
    torch.save((weights(module), result.state.iteration), folder / "end.pt")


@pytest.mark.slow
def test_a_host_that_joins_and_one_that_is_gone_change_nothing_in_what_is_trained(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "1")  # without it torchrun 2.13 takes in no host that joins later
    with two_hosts() as hosts, ExitStack() as stack:
        one, two = (host._replace(needs=1) for host in hosts)
        first = stack.enter_context(
            Agent(1, train_with_whoever_is_there, tmp_path, folder=tmp_path / one.name, host=one, max_restarts=3)
        )
        first.wait_for("1 processes")
        second = stack.enter_context(
            Agent(1, train_with_whoever_is_there, tmp_path, folder=tmp_path / two.name, host=two, max_restarts=3)
        )
        second.wait_for("2 processes")
        two.cut()
        assert first.end() == 0, first.errors()
    assert (tmp_path / "sizes.txt").read_text() == "1 2 1 "
    elastic, iterations = torch.load(tmp_path / "end.pt")
    alone = made()
    alone.fit(loader(8), max_iters=iterations, **COMMON)
    assert furthest(elastic, weights(alone)) < 1e-5
