import math
from pathlib import Path

from framework.report.axes import Span
from framework.report.curves import charts_of, is_number, iterations_of
from framework.report.record import RunRecord


def record(series=None, rows=()):
    curves = {
        name: [(iteration, value, 1, float(iteration)) for iteration, value in points] for name, points in (series or {}).items()
    }
    return RunRecord(name="a", path=Path("a"), status="running", reason="", metrics={}, series=curves, history=list(rows))


def rows(**values):
    return [
        {
            "epoch": index + 1,
            "iteration": 10 * (index + 1),
            **{name.replace("_", "/"): column[index] for name, column in values.items()},
        }
        for index in range(len(next(iter(values.values()))))
    ]


def by_title(*runs):
    return {chart.title: chart for chart in charts_of(runs)}


def test_training_and_validation_are_one_chart():
    run = record({"train/loss": [(5, 1.0), (10, 0.8), (15, 0.6), (20, 0.5)]}, rows(train_loss=[0.9, 0.55], val_loss=[0.95, 0.7]))
    chart = by_title(run)["loss"]
    assert chart.labels == ["train", "val", "train, means of epochs"]
    assert [(style.marked, style.dash) for style in chart.styles] == [(False, 0), (True, 0), (True, 1)]
    assert chart.colours == [0, 1, 0]
    points = {chart.labels[curve.kind]: (curve.thinned.xs, curve.thinned.ys) for curve in chart.curves}
    assert points == {
        "train": ([5, 10, 15, 20], [1.0, 0.8, 0.6, 0.5]),
        "val": ([10, 20], [0.95, 0.7]),
        "train, means of epochs": ([10, 20], [0.9, 0.55]),
    }


def test_the_means_of_epochs_are_left_out_where_they_are_the_points():
    run = record({"train/loss": [(10, 0.9), (20, 0.5)]}, rows(train_loss=[0.9, 0.5]))
    assert by_title(run)["loss"].labels == ["train"]


def test_validation_has_its_colour_in_every_chart():
    run = record(
        {"train/loss": [(10, 0.9)]}, [{"iteration": 10, "val/a/loss": 0.5, "val/b/loss": 0.4, "val/a/acc": 0.3, "val/b/acc": 0.2}]
    )
    charts = by_title(run)
    assert dict(zip(charts["acc"].labels, charts["acc"].colours, strict=True)) == {"val/a": 1, "val/b": 2}
    assert dict(zip(charts["loss"].labels, charts["loss"].colours, strict=True)) == {"train": 0, "val/a": 1, "val/b": 2}


def test_charts_come_in_the_order_of_interest():
    series = {name: [(5, 0.1), (10, 0.2)] for name in ("train/time/data_s", "train/lr", "train/aux", "train/loss")}
    run = record(series, rows(val_accuracy=[0.5]))
    assert [chart.title for chart in charts_of([run])] == [
        *("loss", "accuracy", "aux", "learning rate", "iterations a second", "seconds an iteration")
    ]


def test_runs_share_the_kinds_of_a_chart():
    first, second = record({"train/loss": [(5, 1.0)]}), record({"train/loss": [(5, 2.0)], "train/aux": [(5, 1.0)]})
    charts = by_title(first, second)
    assert [(curve.run, curve.kind) for curve in charts["loss"].curves] == [(0, 0), (1, 0)]
    assert [curve.run for curve in charts["aux"].curves] == [1]
    assert iterations_of(list(charts.values())) == Span(0.0, 5.0)


def test_what_is_no_number_is_no_curve():
    values = {"val/text": "x", "val/flag": True, "val/matrix": [[1]], "val/none": None, "val/huge": 10**400, "val/nan": math.nan}
    assert [chart.title for chart in charts_of([record(rows=[{"iteration": 1, **values}])])] == ["nan"]
    assert is_number(0)
    assert not is_number(False)


def test_points_come_in_order_and_impossible_iterations_are_left_out():
    run = record(
        {"train/loss": [(20, 0.2), (10, 0.1), (10**20, 0.3), (-5, 0.4)]}, [{"iteration": "x", "val/loss": 1.0}, {"val/loss": 1.0}]
    )
    [curve] = by_title(run)["loss"].curves
    assert (curve.thinned.xs, curve.thinned.ys) == ([10, 20], [0.1, 0.2])


def test_many_curves_get_fewer_points_each():
    points = [(index, index / 7) for index in range(2_000)]
    [one] = by_title(record({"train/loss": points}))["loss"].curves
    assert 900 < len(one.thinned.xs) <= 1_002
    many = by_title(record({f"train/layers/{index}": points for index in range(300)}))["layers"].curves
    assert sum(len(curve.thinned.xs) for curve in many) < 70_000


def test_a_run_without_anything_has_no_chart():
    assert charts_of([record()]) == []
    assert iterations_of([]) == Span(0.0, 1.0)
