"""What TensorBoard reads from the files of TensorBoardLogger."""

from itertools import count
from pathlib import Path

import pytest

from framework import RunFacts, TensorBoardLogger

pytest.importorskip("tensorboard", reason="tensorboard comes with the test extra")

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.summary.writer import event_file_writer

FACTS = {"module": "Net", "hparams": {"width": 4}, "settings": {"max_epochs": 3}, "seed": 7}


@pytest.fixture(autouse=True)
def a_clock_of_whole_seconds(monkeypatch):
    """TensorBoard reads files in the order of their names, which hold the second of their making."""
    seconds = count(1_700_000_000)
    monkeypatch.setattr(event_file_writer.time, "time", lambda: next(seconds))


def write(logger, *iterations, **facts):
    """A point at each iteration, a row at each third."""
    logger.begin(RunFacts(**{"verb": "fit", **FACTS, **facts}))
    for iteration in iterations:
        logger.points(iteration, 1, 0.5, {"train/loss": iteration / 8})
        if iteration % 3 == 0:
            logger.row({"epoch": 1, "iteration": iteration, "train/loss": 0.25, "val/loss": iteration / 4})
    logger.close("completed", "why")


def shown(folder):
    """The curves that TensorBoard shows, and its texts."""
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0}).Reload()
    tags = events.Tags()
    scalars = {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in tags["scalars"]}
    texts = {tag: [event.tensor_proto.string_val[0].decode() for event in events.Tensors(tag)] for tag in tags["tensors"]}
    return scalars, texts


def losses(folder):
    scalars, _ = shown(folder)
    return [step for step, _ in scalars["train/loss"]], [step for step, _ in scalars.get("val/loss", ())]


def test_curves_and_how_the_run_was_made(tmp_path):
    write(TensorBoardLogger(tmp_path), 2, 3)
    scalars, texts = shown(tmp_path)
    assert scalars == {
        "train/loss": [(2, 0.25), (3, 0.375)],
        "epoch": [(2, 1.0), (3, 1.0), (3, 1.0)],
        "train_epoch/loss": [(3, 0.25)],
        "val/loss": [(3, 0.75)],
    }
    assert texts == {
        "fit/text_summary": [
            "    verb: 'fit'\n    module: 'Net'\n    seed: 7\n    hparams/width: 4\n    settings/max_epochs: 3",
        ],
        "end/text_summary": ["completed: why"],
    }


def test_times_are_those_of_the_points(tmp_path):
    write(TensorBoardLogger(tmp_path), 2)
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [event.wall_time for event in events.Scalars("train/loss")] == [0.5]


def test_each_point_is_in_the_file_at_once(tmp_path):
    logger = TensorBoardLogger(tmp_path)
    logger.begin(RunFacts(verb="fit", **FACTS))
    logger.points(1, 1, 0.5, {"train/loss": 1.0})
    assert losses(tmp_path) == ([1], [])
    logger.close("completed", "why")


@pytest.mark.parametrize("stopped", [3, 4, 7])
@pytest.mark.parametrize("goes_on_from", [0, 2, 3])
def test_a_run_that_goes_on_shows_every_point_once(tmp_path, stopped, goes_on_from):
    write(TensorBoardLogger(tmp_path), *range(1, stopped + 1))
    again = range(max(goes_on_from, 1), 9)
    write(TensorBoardLogger(tmp_path), *again, goes_on_from=goes_on_from, points_until=stopped, rows_until=stopped - stopped % 3)
    assert losses(tmp_path) == ([1, 2, 3, 4, 5, 6, 7, 8], [3, 6])


def test_a_logger_that_is_new_to_a_run_that_goes_on_gets_all_from_there(tmp_path):
    write(TensorBoardLogger(tmp_path), 3, 4, goes_on_from=2, points_until=7, rows_until=6)
    assert losses(tmp_path) == ([3, 4], [3])


def test_a_run_that_begins_hides_the_one_before(tmp_path):
    write(TensorBoardLogger(tmp_path), 1, 2, 3)
    write(TensorBoardLogger(tmp_path), 1, 2)
    assert losses(tmp_path)[0] == [1, 2]


def test_evaluate_adds_to_the_folder(tmp_path):
    logger = TensorBoardLogger(tmp_path)
    write(logger, 1, 2)
    for each in (logger, TensorBoardLogger(tmp_path)):
        each.begin(RunFacts(verb="evaluate", **FACTS))
        each.row({"test/loss": 0.5})
        each.close("completed", "why")
    assert losses(tmp_path)[0] == [1, 2]
    assert sorted(shown(tmp_path)[0]["test/loss"]) == [(0, 0.5), (2, 0.5)]


def test_where_it_is_without_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    logger = TensorBoardLogger()
    write(logger, 1, run_dir=Path("run"))
    logger.begin(RunFacts(verb="evaluate", **FACTS))
    logger.row({"test/loss": 0.5})
    logger.close("completed", "why")
    assert set(shown(tmp_path / "run" / "tensorboard")[0]) == {"epoch", "train/loss", "test/loss"}
    write(TensorBoardLogger(), 1)
    assert losses(tmp_path / "tensorboard")[0] == [1]
