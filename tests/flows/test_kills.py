"""A run that is killed anywhere, again and again, and goes on in new processes ends as the run that was never killed."""

import random
import re
from collections import Counter
from pathlib import Path
from signal import SIGKILL

import pytest
from outcomes import assert_goes_on, lines, newest, plan_of
from processes import FILE_CALLS, Program, run

SEED = 5


def plan_for(folder, number, **plan):
    """The plan of one of many processes: what it draws itself matters only until there is a checkpoint."""
    return plan_of(folder, **{"seed": SEED if newest(folder) is None else 100 + number, "workers": number % 4, **plan})


def iteration(folder):
    """Where the run in a folder would go on, after a look at all that is there; None for its beginning."""
    lines(folder)
    parts = newest(folder)
    return None if parts is None else parts["run"]["progress"]["iteration"]


def kill_at(folder, number, **places):
    """Lets a run die at a place, and returns where it would go on."""
    at = {place: [passed, "die"] for place, passed in places.items()}
    ended = run(plan_for(folder, number, at=at))
    assert ended.code == -SIGKILL, ended
    return iteration(folder)


def finish(folder, number=2, **plan):
    """Lets a run go on to its end, and asserts that this is the usual one and that the killed processes have left nothing."""
    assert_goes_on(folder, **{"seed": SEED if newest(folder) is None else 99, "workers": number % 4, **plan})
    left = {path.name for path in Path(folder, "run").iterdir()}
    assert left == {"checkpoints", "config.yaml", "environment.json", "metrics.jsonl", "report.html", "run.json", "run.lock"}
    names = [path.name for path in Path(folder, "run", "checkpoints").iterdir()]
    assert all(re.fullmatch(r"step-\d{8}(\.\d+)?|(last|best)\.json", name) for name in names), names


@pytest.mark.fault(1, 15, 16, 17, 18)
def test_killed_in_a_step_in_a_validation_and_in_saves(tmp_path):
    reached = [
        kill_at(tmp_path, 2, step=5),  # inside a window
        kill_at(tmp_path, 0, evaluation=2),
        kill_at(tmp_path, 3, rename=4),  # just before the checkpoint gets its name
        kill_at(tmp_path, 1, rename=5),  # just after
        kill_at(tmp_path, 2, remove_folder=1),  # in the rotation
        kill_at(tmp_path, 1, step=6),
    ]
    assert reached == [3, 3, 3, 6, 8, 11]
    finish(tmp_path)


@pytest.mark.fault(1)
def test_killed_before_the_first_checkpoint(tmp_path):
    assert [kill_at(tmp_path, number, file=place) for number, place in enumerate((1, 8, 30))] == [None] * 3
    finish(tmp_path)


@pytest.mark.fault(1)
def test_killed_at_the_end(tmp_path):
    reached = [
        kill_at(tmp_path, 0, TERMINATE=1),
        kill_at(tmp_path, 1, rename=4),  # of the last checkpoint
        kill_at(tmp_path, 2, CLOSED=1),  # it is there, run.json does not say so
        kill_at(tmp_path, 0, CLOSED=1),
    ]
    assert reached == [19, 19, 20, 20]
    finish(tmp_path, number=0)


@pytest.mark.fault(1, 30)
def test_killed_while_saves_are_made_in_the_background(tmp_path):
    for number, place in enumerate(("create", "rename")):
        ended = run(plan_for(tmp_path, number, at={place: [11 + number, "die"]}, settings={"async_save": True}))
        assert ended.code == -SIGKILL, ended
    assert iteration(tmp_path) > 0
    finish(tmp_path, settings={"async_save": True})


@pytest.mark.slow
@pytest.mark.fault(1)
def test_killed_at_each_call_of_the_first_second(tmp_path):
    """Each process dies one call to the system later than the one before, until the first checkpoint is there."""
    number = 0
    while newest(tmp_path) is None:
        number += 1
        kill_at(tmp_path, number, file=number)
    assert number > 20
    finish(tmp_path)


@pytest.mark.slow
@pytest.mark.fault(1, 15, 16, 17, 18, 30)
@pytest.mark.parametrize(("kills", "settings"), [(30, {}), (12, {"async_save": True})], ids=["usual", "async_save"])
def test_killed_at_random(tmp_path, kills, settings):
    """A run that reaches its end makes room for the next, until that many processes were killed."""
    draw, hit, runs = random.Random(kills), Counter(), 0
    folder = tmp_path / "0"
    folder.mkdir()
    for number in range(1000):
        ended = run_with_a_kill(plan_for(folder, number, settings=settings), draw, fresh=number % 8 == 7)
        reached = iteration(folder)
        if ended.code == -SIGKILL:
            hit[where(ended.said)] += 1
            continue
        assert ended.code == 0, ended
        assert reached == 20
        finish(folder, settings=settings)
        runs += 1
        if hit.total() >= kills:
            break
        folder = tmp_path / str(runs)
        folder.mkdir()
    print(f"{hit.total()} kills in {runs} runs: {dict(hit)}")  # noqa: T201  # the figures, for `pytest -s`
    assert hit.total() >= kills
    assert {"step", "validation", "save"} <= set(hit)


def run_with_a_kill(plan, draw, fresh):
    """Runs a program that dies at a random place, or is killed after a random time if it is still there."""
    if draw.random() < 0.5:
        place, most = draw.choice([("step", 9), ("evaluation", 9), ("file", 200)])
        return run({**plan, "at": {place: [draw.randint(1, most), "die"]}}, fresh=fresh)
    with Program(plan, fresh=fresh) as program:
        program.hear("ready").listen(draw.uniform(0.0, 1.5)).signal(SIGKILL)
        return program.end()


def where(said):
    """What a killed program was doing, by the last place that it named."""
    last = said.split("\n")[-2].split()[0]
    doing = {"ready": "start", "sample": "step", "step": "step", "evaluation": "validation"}
    return doing.get(last, "save" if last in (*FILE_CALLS, "thread") else "between")
