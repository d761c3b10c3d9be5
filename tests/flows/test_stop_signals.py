"""Signals to real runs: each finishes the step, saves, and leaves with its exit code; the run then goes on to the same bits."""

import json
import os
from pathlib import Path
from signal import SIGINT, SIGTERM, SIGUSR1

import pytest
from outcomes import assert_goes_on, newest, plan_of
from processes import Program

from framework.data import order

IN_TERM, IN_INT = "SIGTERM: finishing the step; a second signal stops now\n", "finishing the step; press again to stop now\n"
ENTRY = order(120, 5, 0)[3 * 16]  # a sample of the batch that opens the second window


def stopped(folder, number=SIGTERM, *, group=False, go=True, fresh=False, after="waits", **plan):
    """Sends a signal to a run that waits at a place, lets it go on, and returns how it ended."""
    with Program(plan_of(folder, **plan), fresh=fresh) as program:
        program.hear("waits").hear(after)
        (program.signal_group if group else program.signal)(number)
        program.hear("finishing the step", errors=True)
        if go:
            program.go()
        return program.end()


def assert_stopped(ended, folder, code, iteration):
    """Asserts that a run was interrupted and saved, and that the fit after it ends as usual."""
    assert ended.code == code, ended
    assert "Traceback" not in ended.errors
    assert [ended.last(event) for event in ("INTERRUPT", "CLOSED", "COMPLETED", "EXCEPTION_RAISED")] == [1, 1, 0, 0]
    assert newest(folder)["run"]["progress"]["iteration"] == iteration
    status = json.loads(Path(folder, "run", "run.json").read_text())
    assert (status["status"], status["iteration"]) == ("interrupted", iteration)
    assert_goes_on(folder)


@pytest.mark.fault(9)
@pytest.mark.parametrize("step", [4, 6], ids=["window open", "last of its window"])
def test_sigterm_in_training(tmp_path, step):
    ended = stopped(tmp_path, at={"step": [step, "wait"]})
    assert IN_TERM in ended.errors
    assert_stopped(ended, tmp_path, code=143, iteration=6)


@pytest.mark.fault(10)
@pytest.mark.parametrize(("batch", "left_at", "iteration"), [(2, 3, 6), (5, 5, 8)], ids=["window open", "end of epoch"])
def test_sigterm_in_validation(tmp_path, batch, left_at, iteration):
    """It is given up where the gradients of an open window would not be lost with it."""
    ended = stopped(tmp_path, at={"evaluation": [batch, "wait"]})
    assert ended.last("evaluation") == left_at
    assert_stopped(ended, tmp_path, code=143, iteration=iteration)


@pytest.mark.fault(10)
@pytest.mark.parametrize(
    ("plan", "go", "iteration"),
    [
        ({"at": {"sample": [3 * 16 + 5, "wait"]}}, False, 3),
        ({"at": {"sample": [4 * 16 + 5, "wait"]}}, True, 6),
        ({"in_worker": {str(ENTRY): "wait_for_ever"}, "workers": 2, "after": "step 3"}, False, 3),
    ],
    ids=["window closed", "window open", "of a worker"],
)
def test_sigterm_while_a_batch_does_not_come(tmp_path, plan, go, iteration):
    """Nobody has to release the data, but where gradients of an open window wait for it."""
    assert_stopped(stopped(tmp_path, go=go, **plan), tmp_path, code=143, iteration=iteration)


@pytest.mark.fault(11)
@pytest.mark.parametrize(
    ("place", "number", "iteration", "fresh"),
    [("step", 6, 6, False), ("evaluation", 5, 8, False), pytest.param("step", 5, 6, True, marks=pytest.mark.slow)],
    ids=["training", "validation", "a program started afresh"],
)
def test_sigterm_to_the_group_with_workers(tmp_path, place, number, iteration, fresh):
    ended = stopped(tmp_path, group=True, fresh=fresh, at={place: [number, "wait"]}, workers=2)
    assert_stopped(ended, tmp_path, code=143, iteration=iteration)


@pytest.mark.fault(12)
def test_sigterm_in_a_save(tmp_path):
    """The save is finished, and is the last one: nothing has happened since."""
    ended = stopped(tmp_path, at={"make_folder": [2, "wait"]})
    assert ended.last("make_folder") == 2
    assert_stopped(ended, tmp_path, code=143, iteration=3)


@pytest.mark.fault(12, 14)
@pytest.mark.parametrize(
    ("first", "second", "code", "place", "number"),
    [
        (SIGTERM, SIGTERM, 143, "write of save 2", 4),
        (SIGINT, SIGTERM, 143, "thread of save 2", 2),  # in the start of the thread that sums up
        (SIGTERM, SIGINT, -SIGINT, "rename of save 2", 1),
    ],
)
def test_a_second_signal_in_a_save(tmp_path, first, second, code, place, number):
    """It stops at once: the checkpoint before is whole, and what was begun is gone."""
    with Program(plan_of(tmp_path, at={place: [number, "wait"]})) as program:
        program.hear("waits").signal(first)
        program.hear("finishing the step", errors=True).signal(second)
        ended = program.end()
    assert ended.code == code, ended
    assert ("Traceback" in ended.errors) == (second == SIGINT)
    assert "CLOSED" in ended.said
    assert newest(tmp_path)["run"]["progress"]["iteration"] == 0
    assert {path.name for path in Path(tmp_path, "run", "checkpoints").iterdir()} == {"step-00000000", "last.json"}
    assert_goes_on(tmp_path)


# Slurm


def slurm(tmp_path, says="exit 0"):
    """The environment of a job, with a scontrol that notes how it was called."""
    folder = tmp_path / "bin"
    folder.mkdir()
    scontrol = folder / "scontrol"
    scontrol.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n{says}\n')
    scontrol.chmod(0o755)
    return {"SLURM_JOB_ID": "77", "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


@pytest.mark.fault(13)
def test_sigusr1_saves_and_puts_the_job_back_into_the_queue(tmp_path):
    ended = stopped(tmp_path, SIGUSR1, at={"step": [4, "wait"]}, environment=slurm(tmp_path))
    assert_stopped(ended, tmp_path, code=138, iteration=6)
    assert (tmp_path / "calls").read_text() == "requeue 77\n"


@pytest.mark.fault(13)
def test_a_job_whose_run_is_over_is_not_put_back(tmp_path):
    ended = stopped(tmp_path, SIGUSR1, at={"COMPLETED": [1, "wait"]}, environment=slurm(tmp_path))
    assert ended.code == 138, ended
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "stopped"
    assert not (tmp_path / "calls").exists()


@pytest.mark.fault(13)
def test_a_job_that_cannot_be_put_back_is_saved_all_the_same(tmp_path):
    environment = slurm(tmp_path, says="echo no such job >&2; exit 1")
    ended = stopped(tmp_path, SIGUSR1, at={"step": [4, "wait"]}, environment=environment)
    assert ended.code == 1
    assert "RuntimeError: Slurm job 77 was not put back into the queue: scontrol returned 1 and said: no such job" in ended.errors
    assert newest(tmp_path)["run"]["progress"]["iteration"] == 6


@pytest.mark.fault(13)
@pytest.mark.parametrize("in_job", [False, True])
def test_sigusr1_without_a_job_or_a_folder_is_left_alone(tmp_path, in_job):
    environment = slurm(tmp_path) if in_job else {}
    with Program({"at": {"step": [1, "wait"]}, "environment": environment}) as program:
        program.hear("waits").signal(SIGUSR1)
        ended = program.end()
    assert ended.code == -SIGUSR1
    assert not (tmp_path / "calls").exists()


# Ctrl-C


@pytest.mark.fault(14)
def test_ctrl_c(tmp_path):
    ended = stopped(tmp_path, SIGINT, group=True, at={"step": [4, "wait"]}, workers=1, settings={"progress": True})
    assert ended.errors.splitlines()[-2:] == ["", IN_INT.strip()]
    assert_stopped(ended, tmp_path, code=130, iteration=6)


@pytest.mark.fault(14)
def test_ctrl_c_without_a_folder(tmp_path):
    with Program({"at": {"step": [4, "wait"]}}) as program:
        program.hear("waits").signal(SIGINT)
        program.hear(IN_INT, errors=True).go()
        ended = program.end()
    assert (ended.code, "Traceback" in ended.errors) == (130, False)
    assert ended.last("step") == 6


@pytest.mark.fault(14)
def test_ctrl_c_twice_in_a_step(tmp_path):
    """It stops at once, like any Python program; the checkpoint before is whole."""
    with Program(plan_of(tmp_path, at={"step": [4, "wait"]})) as program:
        program.hear("waits").signal(SIGINT)
        program.hear(IN_INT, errors=True).signal(SIGINT)
        ended = program.end()
    assert ended.code == -SIGINT
    trace = ended.errors.partition("Traceback")[2]
    assert trace.endswith("\nKeyboardInterrupt\n")
    assert trace.count("in training_step") == 1
    assert "/framework/" not in trace
    assert [ended.last(event) for event in ("EXCEPTION_RAISED", "CLOSED", "INTERRUPT", "COMPLETED")] == [1, 1, 0, 0]
    assert newest(tmp_path)["run"]["progress"]["iteration"] == 3
    assert_goes_on(tmp_path)
