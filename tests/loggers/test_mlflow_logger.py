"""What MLflowLogger asks of mlflow; see test_services for what it shares with the others."""

from pathlib import Path

import pytest
from services import StandInMlflow

from framework import MLflowLogger, RunFacts

FACTS = {"module": "Net", "hparams": {"width": 4}, "settings": {"max_epochs": 3}, "seed": 7}


@pytest.fixture
def mlflow(monkeypatch, tmp_path):
    return StandInMlflow(monkeypatch, tmp_path)


def test_how_the_run_was_made(mlflow, tmp_path):
    folder = tmp_path / "first"
    folder.mkdir()
    logger = MLflowLogger("digits", tracking_uri="sqlite:///mlflow.db")
    logger.begin(RunFacts(verb="fit", **FACTS, run_dir=folder))
    assert mlflow.uris == ["sqlite:///mlflow.db"]
    assert mlflow.names == [("1", "first")]
    assert mlflow.params["run1"] == {
        "verb": "fit", "module": "Net", "seed": "7", "hparams/width": "4", "settings/max_epochs": "3"
    }  # fmt: skip


@pytest.mark.parametrize(("name", "folder", "named"), [("mine", None, "mine"), (None, None, None), (None, ".", None)])
def test_the_name_of_the_run(mlflow, monkeypatch, tmp_path, name, folder, named):
    monkeypatch.chdir(tmp_path)
    MLflowLogger(name=name).begin(RunFacts(verb="fit", **FACTS, run_dir=None if folder is None else Path(folder)))
    assert mlflow.names == [("0", named)]


def test_an_experiment_is_made_once(mlflow):
    for _ in range(2):
        MLflowLogger("digits").begin(RunFacts(verb="fit", **FACTS))
    assert mlflow.experiments == {"Default": "0", "digits": "1"}


def test_many_and_long_parameters(mlflow):
    hparams = {f"p{number}": "x" * 7000 for number in range(250)}
    MLflowLogger().begin(RunFacts(verb="fit", **{**FACTS, "hparams": hparams}))
    assert mlflow.batches == [100, 100, 54]
    assert len(mlflow.params["run1"]["hparams/p249"]) == 6000


def test_characters_that_it_does_not_allow(mlflow):
    logger = MLflowLogger()
    logger.begin(RunFacts(verb="fit", **{**FACTS, "hparams": {"größe": 1}}))
    logger.points(1, 1, 0.5, {"val/acc@1": 1.0, "val/a b:c-d_e.f": 2.0})
    assert mlflow.kept["run1"] == [(1, "val/acc_1", 1.0), (1, "val/a b:c-d_e.f", 2.0), (1, "epoch", 1)]
    assert "hparams/gr__e" in mlflow.params["run1"]


@pytest.mark.parametrize(
    ("status", "there"), [("completed", "FINISHED"), ("stopped", "FINISHED"), ("interrupted", "KILLED"), ("failed", "FAILED")]
)
def test_how_the_run_ended(mlflow, status, there):
    logger = MLflowLogger()
    logger.begin(RunFacts(verb="fit", **FACTS))
    logger.close(status, "why")
    assert mlflow.status == {"run1": there}
    assert mlflow.tags["run1"] == {"status": status, "reason": "why"}


def test_evaluate_adds_to_the_run_of_the_fit_and_leaves_its_reason(mlflow):
    logger = MLflowLogger()
    for verb, status, reason in (("fit", "stopped", "why"), ("evaluate", "completed", "The evaluation is over.")):
        logger.begin(RunFacts(verb=verb, **FACTS))
        logger.close(status, reason)
    assert mlflow.tags == {"run1": {"status": "stopped", "reason": "why"}}
