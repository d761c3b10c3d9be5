from pathlib import Path

import pytest

from framework.report.record import RunRecord
from framework.report.throughput import began, iterations_per_s, processes, took_s


def record(points, *, rows=(), environment=()):
    curve = [(iteration, 0.5, 1, time_s) for iteration, time_s in points]
    return RunRecord(
        name="a",
        path=Path("a"),
        status="running",
        reason="",
        metrics={},
        history=list(rows),
        series={"train/loss": curve, "train/rare": curve[:1]} if curve else {},
        environment=list(environment),
    )


def process(second, goes_on_from=None):
    return {"began": f"1970-01-01T00:{second // 60:02d}:{second % 60:02d}+00:00", "goes_on_from": goes_on_from}


def test_iterations_over_the_time_between_two_points():
    run = record([(10, 100.0), (20, 105.0), (40, 106.0)])
    assert iterations_per_s(run) == [(20, 2.0), (40, 20.0)]
    assert began(run) == 100.0
    assert took_s(run) == 6.0


def test_the_time_between_two_processes_is_not_counted():
    environment = [process(95), process(1000, goes_on_from=25)]
    run = record([(10, 100.0), (20, 105.0), (30, 1006.0), (40, 1008.0)], environment=environment)
    assert iterations_per_s(run) == [(20, 2.0), (40, 5.0)]
    assert began(run) == 95.0
    assert took_s(run) == 10.0 + 8.0


def test_the_time_of_an_evaluation_is_not_counted():
    run = record([(10, 100.0), (20, 105.0), (30, 300.0), (40, 305.0)], rows=[{"iteration": 20}])
    assert iterations_per_s(run) == [(20, 2.0), (40, 2.0)]


def test_where_an_epoch_has_one_point_its_own_time_counts():
    rows = [{"epoch": epoch, "iteration": 20 * epoch, "time_s": 4.0} for epoch in (1, 2, 3)]
    run = record([(20, 10.0), (40, 20.0), (60, 30.0)], rows=rows)
    assert iterations_per_s(run) == [(20, 5.0), (40, 5.0), (60, 5.0)]


def test_a_clock_that_goes_back_gives_no_point():
    assert iterations_per_s(record([(10, 100.0), (20, 90.0), (30, 95.0)])) == [(30, 2.0)]


def test_without_points_nothing_is_known():
    run = record([])
    assert (iterations_per_s(run), began(run), took_s(run)) == ([], None, None)
    assert began(record([], environment=[process(7)])) == 7.0


@pytest.mark.parametrize("entry", [{}, {"began": 7}, {"began": "<b>"}, {"began": None, "goes_on_from": "x"}])
def test_an_entry_that_says_no_time_is_passed_over(entry):
    assert processes(record([], environment=[entry, process(7, goes_on_from="x")])) == [(7.0, None)]


def test_times_that_are_none_are_passed_over():
    run = record([(10, float("nan")), (20, 100.0), (30, float("inf")), (40, 110.0)])
    assert took_s(run) == 10.0
