"""Saving itself: in the background, of states that cannot be stored, and which checkpoints are there afterwards."""

import os
from pathlib import Path
from threading import Event

import numpy
import pytest
import torch
from faulty_runs import (
    Died,
    Does,
    Net,
    assert_ends_as,
    checkpoints,
    die,
    difference,
    fit,
    go_on,
    in_child,
    loader,
    status,
)

import framework.checkpoint.files as files
from framework import CheckpointError, Events, SettingError, seed_all
from framework.checkpoint import CheckpointStore, open_checkpoint

pytestmark = pytest.mark.usefixtures("quick_disk")
LONG_S = 60  # what a save would wait for if the run waited for it


def steps(run_dir):
    return [name for name in checkpoints(run_dir) if name.startswith("step-")]


# Row 30


@pytest.fixture
def slow_writer(monkeypatch):
    """Lets each save of step 3 wait until it is told to go on."""
    go, real = Event(), CheckpointStore.write

    def write(self, save, group=None):
        assert save.step != 3 or go.wait(LONG_S), "the run waited for the save"
        return real(self, save, group)

    monkeypatch.setattr(CheckpointStore, "write", write)
    return go


@pytest.mark.fault(30)
def test_a_save_in_the_background_is_of_its_own_step(tmp_path, whole, slow_writer):
    seen = {}
    seed_all(5)
    module = Net()

    def remember(engine):
        seen[engine.state.iteration] = {name: value.clone() for name, value in module.state_dict().items()}
        if engine.state.iteration == 5:
            assert steps(tmp_path) == ["step-00000000"]  # still
            slow_writer.set()

    ended = fit(tmp_path, Does(3, 4, 5, do=remember), module=module, async_save=True)
    stored = open_checkpoint(tmp_path / "checkpoints" / "step-00000003").read("model")
    assert difference(stored, seen[3]) is None
    assert difference(seen[4], seen[3]) is not None
    assert steps(tmp_path) == ["step-00000006", "step-00000003"]
    assert ended[1].last_checkpoint.name == "step-00000006"
    assert status(tmp_path) == "completed"


@pytest.mark.fault(30)
def test_runs_in_the_background_end_and_go_on_alike(tmp_path, whole):
    with pytest.raises(Died):
        fit(tmp_path, Does(5, do=die), async_save=True, save_every=Events.ITERATION_COMPLETED(every=1))
    assert steps(tmp_path)[0] == "step-00000004"
    assert_ends_as(whole, tmp_path, go_on(tmp_path, async_save=True))


@pytest.mark.fault(30)
@pytest.mark.parametrize(("step", "raised_after"), [(0, 3), (3, 6), (6, 6)])
def test_a_failed_save_is_heard_of_at_the_next_and_at_the_end(tmp_path, whole, monkeypatch, step, raised_after):
    real, seen = files.rename, []

    def refused(source, target):
        if target.name == f"step-0000000{step}":
            raise OSError(28, "No space left on device")
        real(source, target)

    monkeypatch.setattr(files, "rename", refused)
    with pytest.raises(CheckpointError, match=rf"Saving step {step} as .*/step-0000000{step} failed: the disk is full"):
        fit(tmp_path, Does(*range(1, 7), do=lambda engine: seen.append(engine.state.iteration)), async_save=True)
    monkeypatch.setattr(files, "rename", real)
    assert seen[-1] == raised_after
    assert status(tmp_path) == "running"  # never "completed"
    assert steps(tmp_path) == [name for name in ("step-00000003", "step-00000000") if int(name[-1]) < step]
    if step:
        assert_ends_as(whole, tmp_path, go_on(tmp_path))


@pytest.mark.fault(30)
def test_killed_while_a_save_is_under_way(tmp_path, whole, slow_writer):
    code, _ = in_child(lambda: fit(tmp_path, Does(5, do=lambda engine: os._exit(9)), async_save=True))
    assert (code, steps(tmp_path)) == (9, ["step-00000000"])
    slow_writer.set()
    assert_ends_as(whole, tmp_path, go_on(tmp_path))


# Row 34


class Handler:
    def __init__(self, value):
        self.value = value

    def on_started(self):
        pass

    def state_dict(self):
        return {"inner": [{"value": self.value}]}

    def load_state_dict(self, state):
        self.value = state["inner"][0]["value"]


class Stored(Net):
    def __init__(self, value):
        super().__init__()
        self.value = value

    def get_extra_state(self):
        return {"value": self.value}

    def set_extra_state(self, state):
        self.value = state["value"]


class Decays:
    """A schedule as torch's LambdaLR saves it: by its attributes."""

    def __init__(self):
        self.factor = numpy.float64(0.9)

    def __call__(self, epoch):
        return float(self.factor**epoch)


class Scheduled(Net):
    def configure_schedulers(self, optimizers):
        return torch.optim.lr_scheduler.LambdaLR(optimizers["main"], Decays())


UNSTORABLE = {
    "extra state": (lambda: Stored(Path("a")), [], r"model\._extra_state\.value is a PosixPath, .* Store str\(\.\.\.\)\."),
    "class": (lambda: Stored(Net), [], r"model\._extra_state\.value is a type, which a checkpoint cannot hold"),
    "handler": (Net, [Handler(numpy.ones(2))], r"handlers\['Handler/0'\]\.inner\[0\]\.value is a numpy\.ndarray, .*from_numpy"),
    "second": (Net, [Handler(1), Handler(numpy.float32(1))], r"handlers\['Handler/1'\]\.inner\[0\]\.value is a numpy\.float32,"),
    "scheduler": (Scheduled, [], r"run\.schedulers\[0\]\.lr_lambdas\[0\]\.factor is a numpy\.float64, .* Store its item\(\)"),
}


@pytest.mark.fault(34)
@pytest.mark.parametrize("name", UNSTORABLE)
@pytest.mark.parametrize("in_background", [False, True])
def test_what_cannot_be_stored_is_refused_before_the_first_step(tmp_path, whole, name, in_background):
    make, handlers, message = UNSTORABLE[name]
    with pytest.raises(CheckpointError, match=message):
        fit(tmp_path, *handlers, Does(1, do=die), module=make(), async_save=in_background)
    assert checkpoints(tmp_path) == []
    assert_ends_as(whole, tmp_path, fit(tmp_path))  # mended


@pytest.mark.fault(34)
def test_what_can_no_longer_be_stored_is_refused_when_it_is_saved(tmp_path):
    handler = Handler(1.5)
    with pytest.raises(CheckpointError, match=r"handlers\['Handler/0'\]\.inner\[0\]\.value is an object"):
        fit(tmp_path, handler, Does(4, do=lambda engine: setattr(handler, "value", object())))
    assert steps(tmp_path) == ["step-00000003", "step-00000000"]
    other = Handler(0)
    assert go_on(tmp_path, other)[1].status == "completed"
    assert other.value == 1.5


# Which are there


@pytest.mark.parametrize(
    ("settings", "left"),
    [
        ({"keep": 1}, [6]),
        ({"keep": 2}, [6, 3]),
        ({"keep": None}, [6, 3, 0]),
        ({"keep": None, "save_every": Events.ITERATION_COMPLETED(every=4)}, [6, 4, 0]),
        ({"keep": None, "save_every": Events.ITERATION_COMPLETED(once=[1, 5])}, [6, 5, 1, 0]),
        ({"keep": None, "save_every": 2}, [6, 0]),
        ({"keep": None, "save_every": 99}, [6, 0]),
        ({"keep": None, "max_epochs": None, "max_iters": 5}, [5, 3, 0]),
        ({"keep": None, "accumulate": 2, "save_every": Events.ITERATION_COMPLETED(every=1)}, ["00000006.1", 6, 5, 3, 2, 0]),
    ],
    ids=str,
)
def test_when_and_how_many(tmp_path, settings, left):
    fit(tmp_path, **settings)
    names = [step if isinstance(step, str) else f"{step:08d}" for step in left]
    assert sorted(steps(tmp_path)) == sorted(f"step-{name}" for name in names)


def test_by_the_clock(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("framework.module.resuming.saver.perf_counter", lambda: now[0])

    def wait(engine):
        now[0] += 10.0

    fit(tmp_path, Does(*range(7), do=wait), keep=None, save_every=99, save_every_s=25.0)
    assert steps(tmp_path) == ["step-00000006.1", "step-00000006", "step-00000003", "step-00000000"]


class Graded(Net):
    """Its evaluations give these grades, one after the other."""

    grades = (0.5, 0.9, 0.7, 0.8)
    number = 0

    def evaluation_step(self, batch):
        self.number += 1
        return {"grade": self.grades[self.number - 1], "loss": 1 - self.grades[self.number - 1]}


@pytest.mark.parametrize(
    ("settings", "best"),
    [
        ({"monitor": "val/grade", "mode": "max"}, 6),
        ({"monitor": "val/grade", "mode": "min"}, 3),
        ({"monitor": "val/loss"}, 6),
        ({"monitor": "val/loss", "mode": "max"}, 3),
        ({"monitor": "val/grade", "mode": "max", "save_every": 99}, 6),
        ({"monitor": "val/grade", "mode": "max", "keep": None}, 6),
        ({"monitor": "val/grade", "mode": "max", "async_save": True}, 6),
    ],
    ids=str,
)
def test_the_best_stays_beside_the_newest(tmp_path, settings, best):
    result = fit(tmp_path, module=Graded(), val=[0], max_epochs=4, **{"keep": 1, **settings})[1]
    assert result.best_checkpoint.name == f"step-{best:08d}"
    assert result.last_checkpoint.name == "step-00000012"
    assert {f"step-{best:08d}", "step-00000012"} <= set(steps(tmp_path))
    if settings.get("keep", 1) == 1:
        assert len(steps(tmp_path)) == 2


def test_a_run_that_goes_on_remembers_the_best(tmp_path):
    settings = {"val": [0], "keep": 1, "monitor": "val/grade", "mode": "max", "max_epochs": 4}
    with pytest.raises(Died):
        fit(tmp_path, Does(7, do=die), module=Graded(), **settings)
    module = Graded()
    module.number = 2
    result = go_on(tmp_path, module=module, **settings)[1]
    assert (result.best_checkpoint.name, steps(tmp_path)) == ("step-00000006", ["step-00000012", "step-00000006"])


def test_without_a_direction_the_run_stops_at_its_first_grade(tmp_path):
    with pytest.raises(SettingError, match=r"monitor='val/grade': whether a lower or a higher value is better cannot be told"):
        fit(tmp_path, module=Graded(), val=loader(), monitor="val/grade")
