"""The file of CSVLogger: lines, what is cut, what is left alone."""

import csv
import math
from pathlib import Path

import pytest

from framework import CSVLogger, RunFacts
from framework.loggers import adapter as adapter_module
from framework.loggers.csv_logger import COLUMNS

FACTS = {"module": "Net", "hparams": {}, "settings": {}, "seed": 0}
HEADER = "iteration,epoch,time_s,name,value\n"


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    monkeypatch.setattr(adapter_module, "time", lambda: 9.0)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "metrics.csv"


def write(logger, *iterations, **facts):
    """A point at each iteration, a row at each third."""
    logger.begin(RunFacts(**{"verb": "fit", **FACTS, **facts}))
    for iteration in iterations:
        logger.points(iteration, 1, 0.5, {"train/loss": iteration / 8})
        if iteration % 3 == 0:
            logger.row({"epoch": 1, "iteration": iteration, "val/loss": 1.0})
    logger.close("completed", "why")


def read(path):
    with path.open(newline="") as file:
        return [(int(line["iteration"]), line["name"]) for line in csv.DictReader(file)]


def course(last):
    found = [(iteration, name) for iteration in range(1, last + 1) for name in ("train/loss", "val/loss")]
    return [(iteration, name) for iteration, name in found if name == "train/loss" or iteration % 3 == 0]


def test_a_line_a_number(path):
    logger = CSVLogger(path)
    logger.begin(RunFacts(verb="fit", **FACTS))
    logger.points(50, 1, 1700000000.25, {"train/loss": 0.1, 'a "name", with commas': math.nan})
    logger.row({"epoch": 1, "iteration": 50, "val/recall": [0.5, math.inf]})
    logger.close("completed", "why")
    assert path.read_text() == (
        f'{HEADER}50,1,1700000000.25,train/loss,0.1\n50,1,1700000000.25,"a ""name"", with commas",nan\n'
        "50,1,9.0,val/recall/0,0.5\n50,1,9.0,val/recall/1,inf\n"
    )
    assert HEADER.strip() == ",".join(COLUMNS)


def test_each_line_is_in_the_file_at_once(path):
    logger = CSVLogger(path)
    logger.begin(RunFacts(verb="fit", **FACTS))
    logger.points(1, 1, 0.5, {"train/loss": 1.0})
    assert path.read_text() == f"{HEADER}1,1,0.5,train/loss,1.0\n"
    logger.close("completed", "why")


def test_numbers_come_back_to_the_bit(path):
    logger = CSVLogger(path)
    logger.begin(RunFacts(verb="fit", **FACTS))
    logger.points(1, 1, 0.1 + 0.2, {"a": 1 / 3})
    logger.close("completed", "why")
    assert path.read_text().splitlines()[1].split(",")[2:] == [repr(0.1 + 0.2), "a", repr(1 / 3)]


@pytest.mark.parametrize("stopped", [3, 4, 7])
@pytest.mark.parametrize("goes_on_from", [0, 2, 3])
def test_a_run_that_goes_on_has_every_line_once(path, stopped, goes_on_from):
    write(CSVLogger(path), *range(1, stopped + 1))
    rows = stopped - stopped % 3
    again = range(max(goes_on_from, 1), 9)  # what was told in the very iteration may come again, too
    write(CSVLogger(path), *again, goes_on_from=goes_on_from, points_until=stopped, rows_until=rows)
    assert read(path) == course(8)


def test_a_line_that_was_not_finished_is_taken_away(path):
    write(CSVLogger(path), 1, 2)
    with path.open("a") as file:
        file.write("3,1,0.5,tra")
    write(CSVLogger(path), 3, goes_on_from=2, points_until=2)
    assert read(path) == course(3)


def test_a_logger_that_is_new_to_a_run_that_goes_on_gets_all_from_there(path):
    write(CSVLogger(path), 3, 4, goes_on_from=2, points_until=7, rows_until=6)
    assert read(path) == [(3, "train/loss"), (3, "val/loss"), (4, "train/loss")]


def test_a_run_that_begins_starts_the_file_anew(path):
    write(CSVLogger(path), 1, 2, 3, 4)
    write(CSVLogger(path), 1)
    assert read(path) == course(1)


def test_evaluate_adds_to_the_file(path):
    logger = CSVLogger(path)
    write(logger, 1, 2)
    for each in (logger, CSVLogger(path)):
        each.begin(RunFacts(verb="evaluate", **FACTS))
        each.row({"test/loss": 0.5})
        each.close("completed", "why")
    assert read(path) == [*course(2), (2, "test/loss"), (0, "test/loss")]


def test_where_it_is_without_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    logger = CSVLogger()
    write(logger, 1, run_dir=Path("run"))
    logger.begin(RunFacts(verb="evaluate", **FACTS))  # which has no folder, and adds to that of the run
    logger.row({"test/loss": 0.5})
    logger.close("completed", "why")
    assert read(tmp_path / "run" / "metrics.csv") == [(1, "train/loss"), (1, "test/loss")]
    write(CSVLogger(), 1)
    assert read(tmp_path / "metrics.csv") == course(1)


def test_its_folder_is_made(tmp_path):
    write(CSVLogger(str(tmp_path / "a" / "b.csv")), 1)
    assert read(tmp_path / "a" / "b.csv") == course(1)


@pytest.mark.parametrize("verb", ["fit", "evaluate"])
@pytest.mark.parametrize("text", ["name,price\ntea,3\n", "x"])
def test_a_file_of_another_kind_is_left_alone(path, verb, text):
    path.write_text(text)
    with pytest.raises(ValueError, match=r"metrics\.csv is no file of CSVLogger, which begins with 'iter.*Give another path"):
        CSVLogger(path).begin(RunFacts(verb=verb, **FACTS))
    assert path.read_text() == text


@pytest.mark.parametrize("text", ["", HEADER[:5], HEADER])
def test_a_file_that_was_begun_is_gone_on_with(path, text):
    path.write_text(text)
    write(CSVLogger(path), 1)
    assert read(path) == course(1)


def test_closing_twice_does_nothing(path):
    logger = CSVLogger(path)
    write(logger, 1)
    logger.close("completed", "why")
