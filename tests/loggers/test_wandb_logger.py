"""What WandbLogger asks of wandb; see test_services for what it shares with the others."""

import pytest
from services import StandInWandb

from framework import RunFacts, WandbLogger

FACTS = {"module": "Net", "hparams": {"width": 4}, "settings": {"max_epochs": 3}, "seed": 7}


@pytest.fixture
def wandb(monkeypatch, tmp_path):
    return StandInWandb(monkeypatch, tmp_path)


def test_the_options_are_those_of_init(wandb, tmp_path):
    logger = WandbLogger("digits", name="first", mode="offline", tags=["a"])
    logger.begin(RunFacts(verb="fit", **FACTS, run_dir=tmp_path))
    given = {
        "project": "digits",
        "name": "first",
        "mode": "offline",
        "tags": ["a"],
        "dir": str(tmp_path),
        "id": None,
        "resume": None,
    }
    assert wandb.calls == [given]
    assert wandb.module.run.config == {"verb": "fit", **FACTS}


def test_a_folder_of_its_own_is_left_to_it(wandb, tmp_path):
    WandbLogger(dir="elsewhere").begin(RunFacts(verb="fit", **FACTS, run_dir=tmp_path))
    assert wandb.calls[0]["dir"] == "elsewhere"


@pytest.mark.parametrize(("status", "code"), [("completed", 0), ("stopped", 0), ("interrupted", 0), ("failed", 1)])
def test_how_the_run_ended(wandb, status, code):
    logger = WandbLogger()
    logger.begin(RunFacts(verb="fit", **FACTS))
    run = wandb.module.run
    logger.close(status, "why")
    assert (run.summary, run.ended, wandb.module.run) == ({"status": status, "reason": "why"}, code, None)


def test_a_run_that_the_program_has_begun_is_used_and_left_open(wandb):
    run = wandb.init(project="mine", config={"own": 1})
    logger = WandbLogger("digits")
    logger.begin(RunFacts(verb="fit", **FACTS))
    logger.points(1, 1, 0.5, {"train/loss": 1.0})
    logger.points(2, 1, 0.5, {"train/loss": 0.5})
    logger.close("completed", "why")
    assert len(wandb.calls) == 1
    assert wandb.module.run is run
    assert run.config == {"own": 1, "verb": "fit", **FACTS}
    assert run.summary == {"status": "completed", "reason": "why"}
    assert wandb.runs() == {"run1": [(1, "train/loss", 1.0), (1, "epoch", 1)]}


def test_two_projects_go_on_each_with_its_own_run(wandb, tmp_path):
    for facts in ({}, {"goes_on_from": 2}):
        for project in ("a", "b"):
            logger = WandbLogger(project)
            logger.begin(RunFacts(verb="fit", **FACTS, **facts, run_dir=tmp_path))
            logger.close("interrupted", "why")
    assert [(call["project"], call["id"], call["resume"]) for call in wandb.calls] == [
        ("a", None, None),
        ("b", None, None),
        ("a", "run1", "allow"),
        ("b", "run2", "allow"),
    ]


def test_evaluate_adds_to_the_run_of_the_fit_and_leaves_its_ending(wandb, tmp_path):
    logger = WandbLogger("digits")
    logger.begin(RunFacts(verb="fit", **FACTS, run_dir=tmp_path))
    logger.close("stopped", "why")
    logger.begin(RunFacts(verb="evaluate", **FACTS))
    run = wandb.module.run
    logger.close("completed", "The evaluation is over.")
    assert [(call["id"], call["dir"]) for call in wandb.calls] == [(None, str(tmp_path)), ("run1", str(tmp_path))]
    assert run.summary == {}
    assert run.config["verb"] == "fit"


def test_what_was_killed_in_a_step_is_told_again(wandb, tmp_path):
    """W&B keeps a step when the next one comes: what the process has told of the last one is lost with it."""
    for facts in ({}, {"goes_on_from": 1, "points_until": 2}):
        logger = WandbLogger("digits")
        logger.begin(RunFacts(verb="fit", **FACTS, **facts, run_dir=tmp_path))
        for iteration in range(1 + len(facts) // 2, 4 if facts else 3):
            logger.points(iteration, 1, 0.5, {"train/loss": iteration / 8})
        if not facts:
            wandb.module.run = None  # killed
    logger.close("completed", "why")
    assert [step for step, name, _ in wandb.runs()["run1"] if name == "train/loss"] == [1, 2, 3]
