"""Signals and clocks stop several processes at the same step, and the run goes on with the bits of one never stopped."""

import json
import os
import signal
from functools import partial

import pytest

import framework.module.resuming.saver as saver
import framework.module.stopping.boundary as boundary
from framework import Events, on
from tests.distributed.ranks import on_ranks, run_ranks
from tests.flows.agents import Agent, say
from tests.flows.several import Net, furthest, loader, seed_all, weights

SETTINGS = {"max_iters": 60, "progress": False, "seed": 3, "accelerator": "cpu", "clip_norm": 1.0}


class Signalled(Net):
    """Does something at one place on some ranks."""

    place = None

    def __init__(self):
        super().__init__(optimizer="adamw", dropout=0.3)

    def at(self, place):
        if place == self.place:
            self.place = None
            self.act()

    def training_step(self, batch, engine):
        if engine.state.iteration == 9:
            self.at("step")
        return super().training_step(batch)

    def evaluation_step(self, batch):
        self.at("evaluation")
        return super().evaluation_step(batch)

    @on(Events.GET_BATCH_STARTED)
    def fetch(self, engine):
        if engine.state.iteration == 9:
            self.at("fetch")


def train(rank, run_dir, place=None, act=None, **settings):
    seed_all(0)
    module = Signalled()
    module.place, module.act = place, act
    result = module.fit(loader(8), loader(8, samples=41, seed=2), run_dir=run_dir, **{**SETTINGS, **settings})
    return weights(module), result.status, result.reason, result.metrics


def signalled(rank, run_dir, place, ranks, number):
    train(rank, run_dir, place, lambda: os.kill(os.getpid(), number) if rank in ranks else None)


@pytest.fixture(scope="module")
def never_stopped(tmp_path_factory):
    return on_ranks(2, train, tmp_path_factory.mktemp("never") / "run")


def stopped_at(run_dir):
    state = json.loads((run_dir / "run.json").read_text())
    assert state["status"] == "interrupted"
    last = max((run_dir / "checkpoints").glob("step-*"))
    assert last.name == f"step-{state['iteration']:08}"
    return state["iteration"]


def assert_goes_on(run_dir, never_stopped):
    for (again, status, _, metrics), (expected, _, _, expected_metrics) in zip(
        on_ranks(2, train, run_dir), never_stopped, strict=True
    ):
        assert status == "completed"
        assert furthest(again, expected) == 0
        assert metrics == expected_metrics


@pytest.mark.fault(9)
@pytest.mark.fault(10)
@pytest.mark.parametrize(
    ("place", "ranks", "number"),
    [
        ("step", [1], signal.SIGTERM),
        ("evaluation", [0], signal.SIGTERM),
        ("fetch", [1], signal.SIGTERM),
        ("step", [0, 1], signal.SIGINT),
    ],
)
def test_a_signal_to_any_rank_stops_all_at_the_same_step(tmp_path, never_stopped, place, ranks, number):
    ended = run_ranks(2, signalled, tmp_path / "run", place, ranks, number)
    assert [each.code for each in ended] == [128 + number] * 2, [each.stderr for each in ended]
    told = "finishing the step; press again to stop now" if number == signal.SIGINT else "SIGTERM: finishing the step; a second"
    assert told in ended[0].stderr or 0 not in ranks
    assert "Traceback" not in ended[0].stderr + ended[1].stderr
    stopped_at(tmp_path / "run")
    assert_goes_on(tmp_path / "run", never_stopped)


def tell(rank, run_dir, place):
    train(rank, run_dir, place, lambda: say("here") if rank == 0 else None, max_iters=100_000)


@pytest.mark.fault(9)
@pytest.mark.fault(11)
@pytest.mark.fault(14)
@pytest.mark.parametrize(
    ("place", "number", "send"),
    [("step", signal.SIGTERM, os.kill), ("evaluation", signal.SIGTERM, os.kill), ("step", signal.SIGINT, os.killpg)],
    ids=["SIGTERM", "SIGTERM in an evaluation", "SIGINT to the group"],
)
def test_a_signal_to_torchrun_is_a_clean_stop(tmp_path, never_stopped, place, number, send):
    with Agent(2, tell, tmp_path / "run", place, folder=tmp_path / "out") as agent:
        agent.wait_for("here")
        send(agent.pid, number)
        code = agent.end()
        told = agent.errors()
    assert code != 0
    assert "Traceback" not in str(told)
    assert [text.count("finishing the step") for (text,) in told] == [1, 0]
    assert stopped_at(tmp_path / "run") < 100_000

    if (place, number) == ("step", signal.SIGTERM):
        settings = {"max_iters": stopped_at(tmp_path / "run") + 8}
        gone_on = on_ranks(2, go_on, tmp_path / "run", settings)
        assert furthest(gone_on[1], on_ranks(2, go_on, tmp_path / "other", settings)[1]) == 0


def go_on(rank, run_dir, settings):
    return train(rank, run_dir, **settings)[0]


def with_other_clock(rank, run_dir, settings):
    """The clock of rank 1 jumps ahead in the middle of an epoch."""
    act = list  # nothing
    if rank == 1:
        jumped, read = [], boundary.perf_counter
        boundary.perf_counter = saver.perf_counter = lambda: read() + 1000.0 * len(jumped)
        act = partial(jumped.append, True)
    return train(rank, run_dir, "step", act, **settings)[1:3]


def test_clocks_that_differ_stop_all_at_the_same_step(tmp_path, never_stopped):
    first, second = on_ranks(2, with_other_clock, tmp_path / "run", {"max_time_s": 500.0})
    assert first == second
    assert first == ("interrupted", "max_time_s=500 was reached.")
    stopped_at(tmp_path / "run")
    assert_goes_on(tmp_path / "run", never_stopped)


def test_clocks_that_differ_save_once(tmp_path):
    on_ranks(2, with_other_clock, tmp_path / "run", {"save_every_s": 500.0, "save_every": 50, "keep": None, "max_iters": 30})
    steps = sorted(int(path.name.removeprefix("step-")) for path in (tmp_path / "run" / "checkpoints").glob("step-*"))
    assert steps[0] == 0
    assert steps[-1] == 30
    assert len(steps) == 3
    assert 9 <= steps[1] < 30
