"""What `resume` makes of a folder: of one without a run, and of a run that was killed, interrupted, stopped or that is over."""

import shutil

import pytest
import torch
from faulty_runs import (
    Died,
    Does,
    Net,
    assert_ends_as,
    assert_same_end,
    checkpoints,
    die,
    difference,
    fit,
    go_on,
    lines,
    loader,
    status,
    stop,
)

from framework import CheckpointError, Events, ResumeError, Schedule, seed_all
from framework.handlers import EarlyStopping
from framework.module.resuming.saver import Saver

pytestmark = pytest.mark.usefixtures("quick_disk")


def end(engine):
    engine.terminate(reason="enough")


def kill(run_dir, iteration, begin=fit, **changes):
    with pytest.raises(Died):
        begin(run_dir, Does(iteration, do=die), **changes)


def content(folder):
    """Every file below a folder but the lock, with its bytes and its time."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "run.lock"]
    return {str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def assert_as_whole(ended, run_dir, whole):
    assert_ends_as(whole, run_dir, ended)
    assert status(run_dir) == "completed"


# No run, or one that has just begun


def test_without_a_run(tmp_path, whole):
    with pytest.raises(ResumeError, match=r"resume='must': there is no run with a checkpoint in .*/run\. Look at run_dir"):
        fit(tmp_path / "run", resume="must")
    for number, resume in enumerate(("auto", "never")):
        assert_as_whole(fit(tmp_path / f"{number}", resume=resume), tmp_path / f"{number}", whole)


def test_killed_before_the_first_step(tmp_path, whole):
    with pytest.raises(Died):
        fit(tmp_path, StartsAnd(die))
    assert checkpoints(tmp_path) == ["step-00000000", "last.json"]
    assert_as_whole(go_on(tmp_path), tmp_path, whole)


class StartsAnd:
    def __init__(self, do):
        self._do = do

    def on_started(self, engine):
        self._do(engine)


def test_killed_before_the_first_checkpoint(tmp_path, whole, monkeypatch):
    save = Saver.save
    monkeypatch.setattr(Saver, "save", lambda *args: die(None))
    with pytest.raises(Died):
        fit(tmp_path)
    monkeypatch.setattr(Saver, "save", save)
    assert (status(tmp_path), checkpoints(tmp_path)) == ("running", [])
    with pytest.raises(ResumeError, match="resume='must': there is no run with a checkpoint"):
        go_on(tmp_path, resume="must")
    assert_as_whole(fit(tmp_path, reseed=5), tmp_path, whole)


# A run that is not over


@pytest.mark.parametrize("how", ["killed", "interrupted"])
@pytest.mark.parametrize("resume", ["auto", "must", "itself", "its newest checkpoint"])
def test_a_run_that_is_not_over_goes_on(tmp_path, whole, how, resume):
    if how == "killed":
        kill(tmp_path, 5, save_every=Events.ITERATION_COMPLETED(every=2))
    else:
        fit(tmp_path, Does(4, do=stop))
    assert status(tmp_path) == ("running" if how == "killed" else "interrupted")
    named = {"itself": tmp_path, "its newest checkpoint": tmp_path / "checkpoints" / "step-00000004"}
    assert_as_whole(go_on(tmp_path, resume=named.get(resume, resume)), tmp_path, whole)


def test_never_refuses_any_run_and_leaves_it_alone(tmp_path, whole):
    fit(tmp_path, Does(4, do=stop))
    before = content(tmp_path)
    with pytest.raises(ResumeError, match=r"resume='never': .* holds a run, which stays as it is\. Give another run_dir, or"):
        go_on(tmp_path, resume="never")
    assert content(tmp_path) == before
    (tmp_path / "run.json").unlink()
    with pytest.raises(ResumeError, match=r"resume='never': .* holds a run"):
        go_on(tmp_path, resume="never")
    assert_as_whole(go_on(tmp_path), tmp_path, whole)  # what has only lost its run.json goes on


# A run that is over


@pytest.mark.parametrize("resume", ["auto", "must", "itself"])
def test_a_completed_run_is_not_trained_again(tmp_path, whole, resume):
    shutil.copytree(whole[1], tmp_path / "run")
    itself = tmp_path / "run"
    with pytest.warns(UserWarning, match=r"Nothing was trained: the run in .* is over \(max_epochs=2 was reached\.\)\. Raise"):
        module, result = go_on(itself, Does(1, 2, 3, 4, 5, 6, do=die), resume=itself if resume == "itself" else resume)
    (trained, first), _ = whole
    assert difference(dict(module.state_dict()), dict(trained.state_dict())) is None
    assert (result.status, result.reason, result.metrics) == (first.status, first.reason, first.metrics)
    assert result.history == first.history
    assert {name: [point[:3] for point in points] for name, points in result.series.items()} == {
        name: [point[:3] for point in points] for name, points in first.series.items()
    }
    assert (result.state.iteration, result.state.epoch) == (6, 2)
    assert result.last_checkpoint == tmp_path / "run" / "checkpoints" / "step-00000006"


def test_a_stopped_run_is_not_trained_again(tmp_path):
    ended = fit(tmp_path, Does(4, do=end), max_epochs=3)[1]
    assert (ended.status, ended.reason) == ("stopped", "enough")
    with pytest.warns(UserWarning, match=r"Nothing was trained: the run in .* is over \(enough\)"):
        result = go_on(tmp_path, Does(5, do=die), max_epochs=3)[1]
    assert (result.status, result.reason, result.metrics, result.state.iteration) == ("stopped", "enough", ended.metrics, 4)


@pytest.mark.parametrize("resume", ["auto", "must", "a path"])
def test_a_run_that_is_over_and_has_lost_its_checkpoints_keeps_its_curves(tmp_path, whole, resume):
    shutil.copytree(whole[1], tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    with pytest.raises(
        ResumeError, match=r"is over \(max_epochs=2 was reached\.\), but its checkpoints are gone, so it cannot go on\. Give anoth"
    ):
        go_on(tmp_path / "run", resume=whole[1] if resume == "a path" else resume)
    assert lines(tmp_path / "run") == lines(whole[1])


# A longer run


@pytest.fixture(scope="module")
def longer(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("longer") / "run"
    return fit(run_dir, max_epochs=3), run_dir


@pytest.mark.parametrize(
    "first",
    [
        {"max_epochs": 2},
        {"max_epochs": None, "max_iters": 6},
        {"max_epochs": None, "max_iters": 5},
        {"max_epochs": None, "max_iters": 7},
        {"max_epochs": 3, "max_iters": 4},
        {"max_epochs": 3, "handlers": [Does(4, do=end)]},
        {"max_epochs": 4, "handlers": [Does(6, do=end)]},
        {"max_epochs": 1, "save_every": 100},
    ],
    ids=str,
)
def test_a_higher_limit_goes_on_as_the_longer_run(tmp_path, longer, first):
    assert fit(tmp_path, **first)[1].status in ("completed", "stopped")
    then = {"max_epochs": 3}
    if "handlers" in first and first["max_epochs"] == 3:
        then = {"max_epochs": 3, "max_iters": 9}  # any other limit
    ended, expected = go_on(tmp_path, **then), longer[0]
    assert difference(dict(ended[0].state_dict()), dict(expected[0].state_dict())) is None
    assert ended[1].metrics == expected[1].metrics
    assert [row["train/loss"] for row in ended[1].history] == [row["train/loss"] for row in expected[1].history]
    assert (ended[1].status, ended[1].state.iteration) == ("completed", 9)


def test_a_higher_limit_with_windows_gives_each_its_size(tmp_path):
    long = fit(None, max_epochs=None, max_iters=10, accumulate=2)
    fit(tmp_path, max_epochs=None, max_iters=5, accumulate=2)  # ends with a whole window
    ended = go_on(tmp_path, max_epochs=None, max_iters=10, accumulate=2)
    assert difference(dict(ended[0].state_dict()), dict(long[0].state_dict())) is None


def test_a_limit_that_was_raised_before_the_end_was_there(tmp_path):
    long = fit(None, max_epochs=None, max_iters=12, accumulate=2, epoch_length=6)
    with pytest.raises(Died):  # in the last epoch that it knows of, of which it expects five batches
        fit(tmp_path, Does(10, do=die), max_epochs=None, max_iters=11, accumulate=2, epoch_length=6, **every_step())
    ended = go_on(tmp_path, max_epochs=None, max_iters=12, accumulate=2, epoch_length=6)
    assert difference(dict(ended[0].state_dict()), dict(long[0].state_dict())) is None


def every_step():
    return {"save_every": Events.ITERATION_COMPLETED(every=1)}


def test_ended_in_the_first_event_of_an_epoch(tmp_path, longer):
    class Ends:
        def on_epoch_started(self, engine):
            if engine.state.epoch == 3:
                engine.terminate()

    assert fit(tmp_path, Ends(), max_epochs=4, save_every=100)[1].state.iteration == 6
    ended = go_on(tmp_path, max_epochs=3)
    assert_same_end(ended, longer[0])


def test_ended_without_completed_is_saved_too(tmp_path, longer):
    ended = fit(tmp_path, Does(4, do=lambda engine: engine.terminate(skip_completed=True)), max_epochs=4, save_every=100)
    assert (ended[1].status, ended[1].last_checkpoint.name) == ("stopped", "step-00000004")
    with pytest.warns(UserWarning, match="Nothing was trained"):
        module, _ = go_on(tmp_path, max_epochs=4)
    assert difference(dict(module.state_dict()), dict(ended[0].state_dict())) is None
    module, _ = go_on(tmp_path, max_epochs=3)
    assert difference(dict(module.state_dict()), dict(longer[0][0].state_dict())) is None


def test_stopped_early_and_prolonged_keeps_counting(tmp_path):
    class Falling(Net):
        def configure_schedulers(self, optimizers):
            return Schedule(torch.optim.lr_scheduler.StepLR(optimizers["main"], 1))

    def stopping():
        return EarlyStopping("val/loss", patience=1, min_delta=100.0)

    val = loader(shuffle=False)
    seed_all(5)
    assert fit(tmp_path, stopping(), module=Falling(), val=val, max_epochs=5)[1].state.epoch == 2
    handler = stopping()
    result = go_on(tmp_path, handler, module=Falling(), val=val, max_epochs=6)[1]
    assert (result.status, result.state.epoch, handler.bad) == ("stopped", 3, 2)


# Another folder


def test_from_a_path_into_a_new_folder(tmp_path, longer, whole):
    source = tmp_path / "source"
    shutil.copytree(whole[1], source)
    before = content(source)
    new = tmp_path / "new"
    kill(new, 8, begin=go_on, resume=source, max_epochs=3)  # before its first checkpoint
    assert content(source) == before
    assert (status(new), checkpoints(new)) == ("running", [])
    kill(new, 8, begin=go_on, max_epochs=3, **every_step())  # not from the beginning, whatever resume says
    kill(new, 9, begin=go_on, resume=str(source), max_epochs=3, save_every=100)  # the same command again
    assert_same_end(go_on(new, resume=source, max_epochs=3), longer[0])
    assert difference(lines(new), lines(longer[1])) is None
    assert content(source) == before
    with pytest.warns(UserWarning, match="Nothing was trained"):
        go_on(new, resume=source, max_epochs=3)


def test_from_a_checkpoint_in_the_middle(tmp_path, longer):
    middle = longer[1] / "checkpoints" / "step-00000006"
    assert_same_end(go_on(tmp_path / "new", resume=middle, max_epochs=3), longer[0])
    assert difference(lines(tmp_path / "new"), lines(longer[1])) is None


def test_a_folder_with_a_run_is_not_mixed_with_another(tmp_path, whole):
    fit(tmp_path / "other", max_epochs=1)
    before = content(tmp_path / "other")
    with pytest.raises(
        ResumeError, match=r"resume='.*': .*/other holds a run already, which stays as it is\. Give a new run_dir to start"
    ):
        go_on(tmp_path / "other", resume=whole[1])
    assert content(tmp_path / "other") == before


def test_a_path_that_is_no_run(tmp_path):
    with pytest.raises(CheckpointError, match=r"nowhere is neither a run, nor a checkpoint, nor a \.safetensors file\. Give the r"):
        fit(tmp_path / "new", resume=tmp_path / "nowhere")
    (tmp_path / "empty" / "checkpoints").mkdir(parents=True)
    with pytest.raises(CheckpointError, match="empty is a run without a checkpoint yet"):
        fit(tmp_path / "new", resume=tmp_path / "empty")
    assert fit(tmp_path / "new")[1].status == "completed"
