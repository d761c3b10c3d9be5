"""What TrackioLogger asks of trackio; see test_services for what it shares with the others."""

import pytest
from services import StandInTrackio

from framework import RunFacts, TrackioLogger

FACTS = {"module": "Net", "hparams": {"width": 4}, "settings": {"max_epochs": 3}, "seed": 7}


@pytest.fixture
def trackio(monkeypatch, tmp_path):
    return StandInTrackio(monkeypatch, tmp_path)


def test_the_options_are_those_of_init(trackio):
    TrackioLogger("digits", name="first", group="a").begin(RunFacts(verb="fit", **FACTS))
    config = {"verb": "fit", **FACTS}
    assert trackio.calls == [{"project": "digits", "name": "first", "group": "a", "config": config, "resume": "never"}]


def test_a_run_that_goes_on_keeps_its_name_and_says_how_it_is_made(trackio, tmp_path):
    for facts in ({}, {"goes_on_from": 2}):
        TrackioLogger("digits").begin(RunFacts(verb="fit", **FACTS, **facts, run_dir=tmp_path))
    assert [(call["name"], call["resume"]) for call in trackio.calls] == [(None, "never"), ("run1", "allow")]
    assert trackio.calls[0]["config"] == trackio.calls[1]["config"]


def test_a_run_of_which_nothing_was_written_is_told_all_that_comes(trackio, tmp_path):
    TrackioLogger("digits").begin(RunFacts(verb="fit", **FACTS, run_dir=tmp_path))
    trackio.kept.clear()  # the process was killed before trackio wrote anything
    logger = TrackioLogger("digits")
    logger.begin(RunFacts(verb="fit", **FACTS, run_dir=tmp_path, goes_on_from=2, points_until=4))
    logger.points(3, 1, 0.5, {"train/loss": 1.0})
    assert trackio.kept == {"run1": [(3, "train/loss", 1.0), (3, "epoch", 1)]}


def test_evaluate_leaves_how_the_fit_was_made(trackio):
    logger = TrackioLogger("digits")
    for verb in ("fit", "evaluate"):
        logger.begin(RunFacts(verb=verb, **FACTS))
        logger.close("completed", "why")
    assert [(call["name"], call["config"]["verb"]) for call in trackio.calls] == [(None, "fit"), ("run1", "fit")]
