"""What is written for which iteration, and that nothing is written twice."""

import sys

import pytest

from framework import RunFacts
from framework.loggers import adapter as adapter_module
from framework.loggers.adapter import NOTHING, Adapter, configuration, flat

FACTS = {"module": "Net", "hparams": {"width": 4}, "settings": {"max_epochs": 3, "compile": {}}, "seed": 7}
BEGINS = RunFacts(verb="fit", **FACTS)
EVALUATES = RunFacts(verb="evaluate", **FACTS)


class Written(Adapter):
    def __init__(self, kept=NOTHING):
        self.kept = kept
        self.seen = []

    def _open(self, facts):
        return self.kept

    def _write(self, iteration, epoch, time_s, values):
        self.seen.append((iteration, epoch, time_s, dict(values)))

    def close(self, status, reason):
        self.seen.append((status, reason))


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    monkeypatch.setattr(adapter_module, "time", lambda: 9.0)


def course(logger, first, last):
    """Points at each second iteration, a row at each fourth."""
    for iteration in range(first, last + 1, 2):
        logger.points(iteration, 1, 0.5, {"train/loss": iteration / 8})
        if iteration % 4 == 0:
            logger.row({"epoch": 1, "iteration": iteration, "time_s": 0.5, "train/loss": 1.0, "val/loss": iteration / 4})


def iterations(logger):
    return [(iteration, next(iter(values))) for iteration, _, _, values in logger.seen]


def test_points_and_rows_of_a_run():
    logger = Written()
    logger.begin(BEGINS)
    course(logger, 2, 4)
    logger.close("completed", "why")
    assert logger.seen == [
        (2, 1, 0.5, {"train/loss": 0.25}),
        (4, 1, 0.5, {"train/loss": 0.5}),
        (4, 1, 9.0, {"train_epoch/loss": 1.0, "val/loss": 1.0}),
        ("completed", "why"),
    ]


@pytest.mark.parametrize("kept", [NOTHING, 4, sys.maxsize])
@pytest.mark.parametrize(("points_until", "rows_until"), [(-1, -1), (4, -1), (4, 4), (6, 4), (10, 8)])
def test_every_point_and_row_is_there_once_whatever_the_process_before_has_told(kept, points_until, rows_until):
    """It was killed somewhere; the run goes on from iteration 4, where only the point was told or the row as well."""
    before = Written()
    before.begin(BEGINS)
    course(before, 2, 10)
    told = [
        (iteration, name)
        for iteration, name in iterations(before)
        if iteration <= (points_until if name == "train/loss" else rows_until) and iteration <= kept
    ]
    after = Written(kept)
    after.begin(RunFacts(verb="fit", **FACTS, goes_on_from=4, points_until=points_until, rows_until=rows_until))
    course(after, 2, 10)
    assert sorted(told + iterations(after)) == sorted(iterations(before))


def test_an_evaluation_before_the_first_step_is_told():
    logger = Written()
    logger.begin(BEGINS)
    logger.row({"epoch": 0, "iteration": 0, "val/loss": 1.0})
    assert logger.seen == [(0, 0, 9.0, {"val/loss": 1.0})]


def test_a_row_without_a_number_is_not_written():
    logger = Written()
    logger.begin(BEGINS)
    logger.row({"epoch": 1, "iteration": 3, "val/text": "x"})
    assert logger.seen == []


def test_evaluate_adds_its_row_where_the_fit_has_ended():
    logger = Written(sys.maxsize)
    logger.begin(BEGINS)
    course(logger, 2, 6)
    logger.begin(EVALUATES)
    logger.row({"test/loss": 0.5})
    assert logger.seen[-1] == (6, 1, 9.0, {"test/loss": 0.5})


def test_evaluate_alone_counts_from_nothing():
    logger = Written()
    logger.begin(EVALUATES)
    logger.row({"test/loss": 0.5})
    assert logger.seen == [(0, 0, 9.0, {"test/loss": 0.5})]


def test_a_second_fit_begins_anew():
    logger = Written()
    logger.begin(BEGINS)
    course(logger, 2, 6)
    logger.begin(BEGINS)
    logger.row({"val/loss": 1.0})
    assert logger.seen[-1][:2] == (0, 0)


def test_how_the_run_was_made():
    made = configuration(BEGINS)
    assert made == {"verb": "fit", "module": "Net", "seed": 7, "hparams": {"width": 4}, "settings": FACTS["settings"]}
    assert flat(made) == {
        "verb": "fit", "module": "Net", "seed": 7, "hparams/width": 4, "settings/max_epochs": 3, "settings/compile": {}
    }  # fmt: skip
