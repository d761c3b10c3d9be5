"""Mistakes that users make: each is refused with its name and its remedy, nothing is trained or written, and none ends as a run."""

import json
import traceback
from pathlib import Path

import mistakes_in_classes
import mistakes_in_data
import mistakes_in_evaluation
import mistakes_in_hooks
import mistakes_in_optimizers
import mistakes_in_settings
import mistakes_in_steps
import pytest
import torch
from mistakes import MISTAKES, Net, batches, modes_of, watch, watching, weights_of

import framework
from framework import FrameworkError, TrainModule
from framework.checkpoint import CheckpointStore

COLLECTED_FROM = (
    mistakes_in_classes,
    mistakes_in_data,
    mistakes_in_evaluation,
    mistakes_in_hooks,
    mistakes_in_optimizers,
    mistakes_in_settings,
    mistakes_in_steps,
)
FRAMEWORK = str(Path(framework.__file__).parent)
MOST_FRAMES = 2


@pytest.fixture(autouse=True)
def an_own_folder(quick_disk, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake(name, tmp_path):
    mistake, run_dir = MISTAKES[name], tmp_path / "run"
    with watching() as watched, pytest.raises(mistake.error) as caught:
        mistake.program(run_dir)
    assert type(caught.value) is mistake.error
    text = "\n".join([str(caught.value), *getattr(caught.value, "__notes__", ())])
    assert [word for word in mistake.words if word not in text] == [], text
    assert_not_trained(mistake, watched)
    assert_not_written(run_dir, watched)
    assert_short_traceback(mistake, caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) in ([], ["run"])


def assert_not_trained(mistake, watched):
    """The weights are those after the last good step."""
    if mistake.found == "class":
        assert watched.module is None
        return
    if mistake.found == "start":
        assert watched.reads == watched.forwards == 0
    assert watched.module is not None
    assert len(watched.weights) - 1 == mistake.steps
    assert_same(weights_of(watched.module), watched.weights[-1])
    assert modes_of(watched.module) == watched.modes


def assert_not_written(run_dir, watched):
    """No run is over, and its newest checkpoint holds the weights after good steps only."""
    if (run_dir / "run.json").exists():
        assert status_of(run_dir) == "running"
    newest = newest_in(run_dir)
    if newest is not None:
        assert newest.step < len(watched.weights)
        assert_same(newest.read("model"), watched.weights[newest.step])


def status_of(run_dir):
    return json.loads((run_dir / "run.json").read_text())["status"]


def newest_in(run_dir):
    """The newest checkpoint, verified; None where there is none."""
    folder = run_dir / "checkpoints"
    return CheckpointStore(folder).newest() if folder.exists() else None


def assert_short_traceback(mistake, error):
    """The user's own frames are shown, of the framework's only a few."""
    shown = traceback.format_exception(error)
    own = [line for line in shown if f'File "{FRAMEWORK}' in line]
    assert len(own) <= MOST_FRAMES, "".join(shown)
    for frame in (mistake.program.__name__, mistake.frame):
        assert frame is None or f", in {frame}\n" in "".join(shown), "".join(shown)


def assert_same(left, right):
    assert left.keys() == right.keys()
    assert all(torch.equal(tensor, right[name]) for name, tensor in left.items())


@pytest.mark.parametrize(
    "name",
    [
        "early_stopping_on_no_metric",
        "forgot_to_return_the_predictions",
        "monitor_that_no_metric_gives",
        "pair_without_a_metric",
        "predictions_alone",
        "schedule_that_waits_for_no_metric",
        "validation_without_samples",
    ],
)
def test_a_dry_run_finds_it_before_the_first_epoch(name, tmp_path, monkeypatch, capsys):
    mistake, run_dir, fit = MISTAKES[name], tmp_path / "run", TrainModule.fit
    assert mistake.steps == 3
    monkeypatch.setattr(TrainModule, "fit", lambda *args, **settings: fit(*args, dry_run=True, **settings))
    with watching() as watched, pytest.raises(mistake.error) as caught:
        mistake.program(run_dir)
    assert type(caught.value) is mistake.error
    assert [word for word in mistake.words if word not in str(caught.value)] == []
    assert len(watched.weights) == 1 + 1
    assert_same(weights_of(watched.module), watched.weights[0])
    assert not run_dir.exists()


def test_what_a_user_causes_is_of_the_one_tree():
    """What the user's own code raises, or torch in its hands, keeps its type."""
    others = {mistake.error for mistake in MISTAKES.values() if not issubclass(mistake.error, FrameworkError)}
    assert {error.__module__ for error in others} == {"builtins"}


def test_there_are_many():
    assert len(MISTAKES) >= 60
    assert all(mistake.words for mistake in MISTAKES.values())


def test_the_module_that_the_programs_start_from_trains(tmp_path):
    run_dir = tmp_path / "run"
    with watching() as watched:
        result = watch(Net()).fit(batches(), batches(), max_epochs=2, progress=False, run_dir=run_dir)
    assert result.status == status_of(run_dir) == "completed"
    assert len(watched.weights) == 1 + 6
    assert watched.reads == 4 * 3
    newest = newest_in(run_dir)
    assert newest.step == 6
    assert_same(newest.read("model"), watched.weights[6])
