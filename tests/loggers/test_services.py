"""What the loggers of all services have in common, on stand-ins and, where they are installed, on the real packages."""

import inspect

import pytest
from services import REAL, STAND_INS, Metric, Param, StandInMlflow, StandInTrackio, StandInWandb, WandbRun

from framework import RunFacts, WandbLogger

FACTS = {"module": "Net", "hparams": {"width": 4}, "settings": {"max_epochs": 3, "handlers": []}, "seed": 7}
KINDS = [*((STAND_INS, name) for name in STAND_INS), *((REAL, name) for name in REAL)]


@pytest.fixture(params=KINDS, ids=lambda kind: f"{kind[1]}-{'real' if kind[0] is REAL else 'stand-in'}")
def service(request, monkeypatch, tmp_path):
    kinds, name = request.param
    monkeypatch.chdir(tmp_path)
    return kinds[name](monkeypatch, tmp_path)


def write(logger, *iterations, status="completed", **facts):
    """A point at each iteration, a row at each third."""
    logger.begin(RunFacts(**{"verb": "fit", **FACTS, **facts}))
    for iteration in iterations:
        logger.points(iteration, 1, 1700000000.5, {"train/loss": iteration / 8})
        if iteration % 3 == 0:
            logger.row({"epoch": 1, "iteration": iteration, "train/loss": 0.25, "val/loss": iteration / 4})
    logger.close(status, "why")


def curves(service):
    """The numbers of each run, by name; of the epoch, which stands beside each, the values alone."""
    found = []
    for numbers in service.runs().values():
        names = {name for _, name, _ in numbers} - {"epoch"}
        assert {value for _, name, value in numbers if name == "epoch"} <= {0, 1}
        found.append({each: [(step, value) for step, name, value in numbers if name == each] for each in sorted(names)})
    return found


def course(last):
    rows = [iteration for iteration in range(1, last + 1) if iteration % 3 == 0]
    return {
        "train/loss": [(iteration, iteration / 8) for iteration in range(1, last + 1)],
        "train_epoch/loss": [(iteration, 0.25) for iteration in rows],
        "val/loss": [(iteration, iteration / 4) for iteration in rows],
    }


def test_a_run(service):
    write(service.logger(), *range(1, 7))
    assert curves(service) == [course(6)]


def test_a_run_that_goes_on_is_the_same_run_with_every_point_once(service, tmp_path):
    write(service.logger(), *range(1, 8), status="interrupted", run_dir=tmp_path)
    write(service.logger(), *range(4, 10), run_dir=tmp_path, goes_on_from=4, points_until=7, rows_until=6)
    assert curves(service) == [course(9)]


def test_a_logger_that_is_new_to_a_run_that_goes_on_gets_all_from_there(service, tmp_path):
    write(service.logger(), 5, 6, run_dir=tmp_path, goes_on_from=4, points_until=7, rows_until=6)
    assert curves(service) == [{"train/loss": [(5, 0.625), (6, 0.75)], "train_epoch/loss": [(6, 0.25)], "val/loss": [(6, 1.5)]}]


def test_a_run_that_begins_is_another_run(service, tmp_path):
    for last in (2, 3):
        write(service.logger(), *range(1, last + 1), run_dir=tmp_path)
    assert sorted(curves(service), key=len) == [{"train/loss": course(2)["train/loss"]}, course(3)]


def test_evaluate_adds_to_the_run_of_the_fit(service):
    logger = service.logger()
    write(logger, *range(1, 3))
    for _ in range(2):
        logger.begin(RunFacts(verb="evaluate", **FACTS))
        logger.row({"test/loss": 0.5})
        logger.close("completed", "why")
    steps = (3, 4) if isinstance(logger, WandbLogger) else (2, 2)  # W&B takes nothing for a step that is over
    assert curves(service) == [{"test/loss": [(step, 0.5) for step in steps], "train/loss": course(2)["train/loss"]}]


def names(function):
    return {name for name in inspect.signature(function).parameters if name != "self"}


def real(module):
    return pytest.importorskip(module, reason=f"{module} is not installed")


def test_the_stand_in_for_wandb_takes_what_wandb_takes():
    wandb = real("wandb")
    assert names(StandInWandb.init) <= names(wandb.init)
    assert names(WandbRun.log) <= names(wandb.Run.log)
    assert names(WandbRun.finish) <= names(wandb.Run.finish)


def test_the_stand_in_for_mlflow_takes_what_mlflow_takes(monkeypatch):
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    mlflow = real("mlflow")
    for verb in ("get_experiment_by_name", "create_experiment", "create_run", "update_run", "log_batch", "set_terminated"):
        assert names(getattr(StandInMlflow, verb)) <= names(getattr(mlflow.MlflowClient, verb))
    assert names(StandInMlflow.client) <= names(mlflow.MlflowClient.__init__)
    assert list(inspect.signature(mlflow.entities.Metric).parameters)[:4] == list(Metric._fields)
    for entity in (mlflow.entities.Param, mlflow.entities.RunTag):
        assert list(inspect.signature(entity).parameters) == list(Param._fields)


def test_the_stand_in_for_trackio_takes_what_trackio_takes():
    trackio = real("trackio")
    assert names(StandInTrackio.init) <= names(trackio.init)
    assert names(trackio.Run.log) == {"metrics", "step"}
