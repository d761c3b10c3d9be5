from pathlib import Path

from framework.report.record import RunRecord, StoredCheckpoint


def record(**more):
    return RunRecord(name="a", path=Path("a"), status="running", reason="", metrics={}, **more)


def test_the_newest_checkpoint_that_was_the_best_is_the_best():
    checkpoints = [
        StoredCheckpoint(Path("c"), 3),
        StoredCheckpoint(Path("b"), 2, was_best=True),
        StoredCheckpoint(Path("a"), 1, was_best=True),
    ]
    run = record(checkpoints=checkpoints)
    assert run.best_checkpoint is checkpoints[1]
    assert run.last_checkpoint is checkpoints[0]


def test_without_checkpoints_there_is_neither():
    assert record().best_checkpoint is record().last_checkpoint is None


def test_the_iteration_is_the_last_one_of_curves_and_rows():
    assert record().iteration == 0
    assert record(series={"train/loss": [(5, 0.1, 1, 0.0), (10, 0.1, 1, 0.0)]}).iteration == 10
    assert record(series={"train/loss": [(5, 0.1, 1, 0.0)]}, history=[{"iteration": 7}]).iteration == 7
    assert record(history=[{"iteration": "x"}]).iteration == 0
