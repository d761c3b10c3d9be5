import pytest

from framework import FitResult, State
from framework.metrics import Point


def test_its_text_names_the_ending_and_the_numbers():
    result = FitResult("stopped", "Solved.", State(), {"val/accuracy": 0.98765, "confusion": object()}, [], {})
    assert repr(result) == "FitResult(stopped: Solved. val/accuracy 0.9877)"


def test_it_does_not_change():
    with pytest.raises(AttributeError):
        FitResult("completed", "", State(), {}, [], {}).status = "stopped"


def test_what_fit_returns(line, batches):
    result = line().fit(batches, batches[:1], max_epochs=2, log_every=4, progress=False)
    assert (result.status, result.reason) == ("completed", "max_epochs=2 was reached.")
    assert [{name: type(value) for name, value in row.items()} for row in result.history] == [
        {"epoch": int, "iteration": int, "time_s": float, "train/loss": float, "val/loss": float}
    ] * 2
    assert result.metrics == {name: result.history[1][name] for name in ("train/loss", "val/loss")}
    points = result.series["train/loss"]
    assert all(isinstance(point, Point) for point in points)
    assert [(point.iteration, point.epoch) for point in points] == [(4, 1), (6, 1), (8, 2), (12, 2)]
    assert points[0].value * 4 + points[1].value * 2 == pytest.approx(6 * result.history[0]["train/loss"])
