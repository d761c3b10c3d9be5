"""Runs that hang, and runs whose workers die: ended with a reason, and taken up again to the same bits."""

import json
import os
import re
from pathlib import Path
from signal import SIGKILL

import pytest
from outcomes import assert_goes_on, assert_same_end, never_stopped, newest, plan_of
from processes import Program, run

from framework.data import order

FIRST_EPOCH = order(120, 5, 0)
HANG = {"hang_timeout_s": 3.0}


def hung(folder, **plan):
    """Lets a run hang, and returns what its watchdog wrote."""
    ended = run(plan_of(folder, settings=HANG, **plan))
    assert ended.code == 124, ended
    assert "The run hangs: nothing has happened for 3" in ended.errors
    assert json.loads(Path(folder, "run", "run.json").read_text())["status"] == "running"
    return ended.errors


@pytest.mark.fault(25)
def test_a_step_that_hangs(tmp_path):
    errors = hung(tmp_path, at={"step": [5, "hang"]}, workers=1)
    assert "It hangs here: epoch 1, in the step of iteration 5\n" in errors
    assert errors.index("in hang\n") < errors.index("in training_step\n") < errors.index("in _iterate\n")
    assert_goes_on(tmp_path)


@pytest.mark.fault(24)
def test_a_worker_that_hangs(tmp_path):
    batch = FIRST_EPOCH[4 * 16 : 5 * 16]
    errors = hung(tmp_path, in_worker={str(batch[7]): "hang"}, workers=2)
    samples = ", ".join(map(str, batch))
    assert f"It hangs here: epoch 1, waiting for the batch of iteration 5 (samples {samples})\n" in errors
    main, *workers = errors.split("The stacks of worker process ")
    assert "in hang\n" not in main
    assert sum("in hang\n" in stacks and "in __getitem__\n" in stacks for stacks in workers) == 1
    assert_goes_on(tmp_path)


@pytest.mark.slow
@pytest.mark.fault(24, 25)
@pytest.mark.parametrize(
    ("plan", "place"),
    [
        ({"at": {"evaluation": [5, "hang"]}}, "epoch 1, in the evaluation after iteration 8, in the step of iteration 2"),
        (
            {"in_val_worker": {"25": "hang"}, "workers": 2},
            "epoch 1, in the evaluation after iteration 5, waiting for the batch of iteration 2",
        ),
        ({"at": {"COMPLETED": [1, "hang"]}}, "epoch 3, iteration 20, after the event COMPLETED began"),
        (
            {"at": {"sample": [1, "hang"]}, "workers": 0},
            f"epoch 1, waiting for the batch of iteration 1 (samples {FIRST_EPOCH[0]}, ",
        ),
    ],
    ids=["evaluation step", "worker of the evaluation", "hook", "first batch"],
)
def test_what_else_hangs(tmp_path, plan, place):
    assert f"It hangs here: {place}" in hung(tmp_path, **plan)
    assert_goes_on(tmp_path)


@pytest.mark.slow
@pytest.mark.fault(24, 25)
@pytest.mark.parametrize(
    "at",
    [{"sample": [1, "pause"], "evaluation": [1, 2, 3, "pause"], "step": [2, 3, 4, "pause"]}, {"make_folder": [1, 2, 11, "dawdle"]}],
    ids=["what beats in time", "saves at the beginning, within and at the end"],
)
def test_what_is_slow_does_not_hang(tmp_path, at):
    ended = run(plan_of(tmp_path, settings=HANG, at=at))
    assert (ended.code, "hangs" in ended.errors) == (0, False), ended
    assert ended.last("make_folder") == 11
    assert_same_end(tmp_path, never_stopped(workers=2))


@pytest.mark.fault(23)
@pytest.mark.parametrize("plan", [{"in_worker": {str(FIRST_EPOCH[64]): "die"}}, {"in_val_worker": {"25": "die"}}])
def test_a_worker_that_is_killed(tmp_path, plan):
    """Torch tells of it at once, wherever the run is: some of it is lost, and made again from the checkpoint before."""
    ended = run(plan_of(tmp_path, workers=2, **plan))
    assert_told(ended)
    assert newest(tmp_path)["run"]["progress"]["iteration"] in (0, 3)
    assert_goes_on(tmp_path)


@pytest.mark.fault(1, 23)
def test_a_worker_that_is_killed_during_a_save(tmp_path):
    with Program(plan_of(tmp_path, workers=2, at={"rename": [6, "wait"]})) as program:
        program.hear("waits")
        children = Path(f"/proc/{program.pid}/task/{program.pid}/children").read_text().split()
        assert len(children) == 2
        os.kill(int(children[1]), SIGKILL)
        ended = program.end()
    assert_told(ended)
    assert newest(tmp_path)["run"]["progress"]["iteration"] == 0
    assert {path.name for path in Path(tmp_path, "run", "checkpoints").iterdir()} == {"step-00000000", "last.json"}
    assert_goes_on(tmp_path)


def assert_told(ended):
    assert ended.code == 1, ended
    assert re.search(
        r"RuntimeError: DataLoader worker \(pid\(?s?\)? \d+\) (is killed by signal: Killed|exited unexpectedly)", ended.errors
    )
    assert [ended.last(event) for event in ("EXCEPTION_RAISED", "CLOSED", "INTERRUPT", "COMPLETED")] == [1, 1, 0, 0]
