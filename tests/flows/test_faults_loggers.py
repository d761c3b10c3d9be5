"""Loggers that fail, and runs with loggers that are killed: the run has the same bits, and each logger every number once."""

import csv
import os
import random
import warnings
from pathlib import Path

import pytest
import torch
from faulty_runs import Does, Net, assert_ends_as, fit, go_on, in_child, lines, loader, status, stop

from framework import CSVLogger, Events, Logger, TensorBoardLogger, verify_resume
from framework.loggers.base import VERBS

pytestmark = pytest.mark.usefixtures("quick_disk")


class Told(Logger):
    """Counts what it is told, draws random numbers, and may fail in one verb."""

    def __init__(self, fails_in=None):
        self.fails_in = fails_in
        self.seen = []
        self.points_seen = []

    def begin(self, facts):
        self.facts = facts
        self._tell("begin")

    def points(self, iteration, epoch, time_s, values):
        self.points_seen.append((iteration, values))
        self._tell("points")

    def row(self, values):
        self._tell("row")

    def close(self, status, reason):
        self._tell("close")

    def _tell(self, verb):
        self.seen.append(verb)
        torch.rand(3), random.random()
        if verb == self.fails_in:
            raise OSError(28, "No space left on device")


def numbers(path):
    """The lines of a CSVLogger without the times."""
    with path.open(newline="") as file:
        return [(line["iteration"], line["epoch"], line["name"], line["value"]) for line in csv.DictReader(file)]


def killed_at(iteration, run_dir, **settings):
    """Trains in a process that is gone after an iteration."""
    in_child(lambda: fit(run_dir, Does(iteration, do=lambda engine: os._exit(9)), **settings))


# Row 28


@pytest.mark.fault(28)
def test_several_loggers_of_which_each_fails_somewhere(tmp_path, whole):
    failing = [Told(fails_in=verb) for verb in VERBS]
    told, file = Told(), CSVLogger(tmp_path / "numbers.csv")
    with pytest.warns(UserWarning, match="It gets nothing more of this run, which goes on without it") as warned:
        ended = fit(tmp_path, loggers=[failing[0], told, *failing[1:], file])
    assert_ends_as(whole, tmp_path, ended)
    assert status(tmp_path) == "completed"
    assert [str(each.message).split(" failed")[0] for each in warned] == [f"Told.{verb}" for verb in VERBS]
    assert told.seen == ["begin", "points", "points", "row", "points", "points", "row", "close"]
    assert [each.seen.count(verb) for each, verb in zip(failing, VERBS, strict=True)] == [1, 1, 1, 1]
    assert len(numbers(tmp_path / "numbers.csv")) == 2 * 4 + 2  # loss and rate


@pytest.mark.fault(28)
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no disk that is always full")
def test_the_disk_of_a_logger_is_full(tmp_path, whole):
    with pytest.warns(UserWarning, match=r"CSVLogger\.begin failed: OSError: \[Errno 28\] No space left on device") as warned:
        ended = fit(tmp_path, loggers=[CSVLogger("/dev/full")])
    assert len(warned) == 1
    assert_ends_as(whole, tmp_path, ended)


@pytest.mark.fault(28)
def test_the_disk_of_tensorboard_is_full_on_the_way(tmp_path, whole, monkeypatch):
    pytest.importorskip("tensorboard", reason="tensorboard comes with the test extra")
    logger = TensorBoardLogger()

    def fill(engine):
        def full(*given, **named):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(logger._writer, "add_scalar", full)

    with pytest.warns(UserWarning, match=r"TensorBoardLogger\.points failed: OSError: \[Errno 28\]") as warned:
        ended = fit(tmp_path, Does(3, do=fill), loggers=[logger])
    assert len(warned) == 1
    assert_ends_as(whole, tmp_path, ended)
    logger._writer.close()


def test_a_run_without_a_folder_has_the_same_bits(whole):
    module, result = fit(None, loggers=[Told()])
    assert all(torch.equal(tensor, whole[0][0].state_dict()[name]) for name, tensor in module.state_dict().items())
    assert result.metrics == whole[0][1].metrics


# Runs that go on


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The numbers of a run of six iterations with a validation each second one."""
    run_dir = tmp_path_factory.mktemp("undisturbed")
    fit(run_dir, **validating(), loggers=[CSVLogger()])
    return numbers(run_dir / "metrics.csv")


def validating():
    return {
        "val": loader(shuffle=False),
        "validate_every": Events.ITERATION_COMPLETED(every=2),
        "log_every": 1,
        "save_every": Events.ITERATION_COMPLETED(every=3),
    }


@pytest.mark.parametrize("iteration", [1, 2, 3, 4, 5, 6])
def test_a_killed_run_has_every_number_once(tmp_path, undisturbed, iteration):
    killed_at(iteration, tmp_path, **validating(), loggers=[CSVLogger()])
    cut = numbers(tmp_path / "metrics.csv")
    assert cut == undisturbed[: len(cut)]
    go_on(tmp_path, **validating(), loggers=[CSVLogger()])
    assert numbers(tmp_path / "metrics.csv") == undisturbed


@pytest.mark.parametrize("iteration", [2, 3, 4])
def test_what_is_told_again_is_what_was_told(tmp_path, iteration):
    killed_at(iteration, tmp_path, **validating())
    before = [line for line in lines(tmp_path) if line["kind"] == "points"]
    told = Told()
    go_on(tmp_path, **validating(), loggers=[told])
    goes_on_from = 0 if iteration <= 3 else 3
    assert (told.facts.goes_on_from, told.facts.points_until) == (goes_on_from, before[-1]["iteration"])
    again = [(line["iteration"], line["values"]) for line in before if line["iteration"] > goes_on_from]
    assert again
    assert told.points_seen[: len(again)] == again


def test_a_stopped_run_has_every_number_once(tmp_path, undisturbed):
    fit(tmp_path, Does(1, 2, 5, do=stop), **validating(), loggers=[CSVLogger()])
    for _ in range(2):
        go_on(tmp_path, Does(2, 5, do=stop), **validating(), loggers=[CSVLogger()])
    go_on(tmp_path, **validating(), loggers=[CSVLogger()])
    assert numbers(tmp_path / "metrics.csv") == undisturbed


def test_a_run_that_starts_from_another_tells_what_comes_after_it(tmp_path, undisturbed):
    fit(tmp_path / "first", Does(4, do=stop), **validating(), loggers=[CSVLogger()])
    go_on(tmp_path / "second", **validating(), resume=tmp_path / "first", loggers=[CSVLogger()])
    first, second = (numbers(tmp_path / name / "metrics.csv") for name in ("first", "second"))
    assert first + second == undisturbed


def test_a_run_that_is_over_tells_nothing(tmp_path):
    fit(tmp_path)
    told = Told()
    with pytest.warns(UserWarning, match="Nothing was trained"):
        go_on(tmp_path, loggers=[told])
    assert told.seen == []


def test_a_damaged_line_is_told_of_once(tmp_path):
    fit(tmp_path, Does(4, do=stop))
    path = tmp_path / "metrics.jsonl"
    first, rest = path.read_text().split("\n", 1)
    path.write_text(f"{'x' * len(first)}\n{rest}")
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        go_on(tmp_path, loggers=[Told()])
    assert sum("is damaged" in str(each.message) for each in warned) == 1


def test_verify_resume_tells_nothing():
    told = Told()
    verify_resume(Net(), loader(), steps=4, loggers=[told])
    assert told.seen == []
