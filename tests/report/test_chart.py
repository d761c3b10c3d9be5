import math
import re
from pathlib import Path

import pytest

from framework.report.axes import Span
from framework.report.chart import chart_data, describe, dots, draw_chart, path, value_span
from framework.report.curves import charts_of
from framework.report.record import RunRecord

NAN, INF = math.nan, math.inf
X, Y = Span(0, 10), Span(0, 1)


def record(values, name="a"):
    points = [(index, value, 1, 0.0) for index, value in enumerate(values)]
    return RunRecord(name=name, path=Path(name), status="running", reason="", metrics={}, series={"train/loss": points})


def chart_of(*runs):
    return next(chart for chart in charts_of(runs) if chart.title == "loss")


def test_numbers_become_coordinates_with_the_highest_on_top():
    assert path([0, 2.5, 10], [0.0, 1.0, 0.3333], X, Y) == "M0 1000L250 0L1000 666.7"


@pytest.mark.parametrize("lost", [NAN, INF, -INF, 1e305])
def test_what_has_no_place_breaks_the_line(lost):
    assert path([0, 1, 2, 3, 4], [0.5, 0.5, lost, 0.5, 0.5], X, Y) == "M0 500L100 500M300 500L400 500"


def test_a_point_alone_is_a_dot():
    assert path([0, 1, 2], [NAN, 0.5, NAN], X, Y) == "M100 500h0"
    assert path([0], [0.5], X, Y) == "M0 500h0"
    assert path([0], [NAN], X, Y) == ""


def test_dots_are_spread_and_the_last_point_has_one():
    assert dots([0, 1, 2], [0.0, NAN, 1.0], X, Y) == "M200 0h0M0 1000h0"
    many = dots(range(1_000), [0.5] * 1_000, Span(0, 999), Y)
    assert 20 <= many.count("M") <= 40
    assert many.startswith("M1000 500")
    assert dots([], [], X, Y) == ""


def test_values_that_are_not_finite_are_marked_and_named():
    drawn = draw_chart(chart_of(record([0.5, NAN, INF, -INF, 0.25, NAN, NAN])), 0, Span(0, 6), ["a"])
    assert re.findall(r'<text x="([\d.]+%)" y="(\w+%?)"[^>]*>([^<\d])</text>', drawn) == [
        *(
            ("16.67%", "0", "\u00d7"),
            ("33.33%", "0", "↑"),
            ("50.00%", "100%", "↓"),
            ("83.33%", "0", "\u00d7"),
            ("100.00%", "0", "\u00d7"),
        )
    ]
    assert "NaN at 1, ∞ at 2, -∞ at 3, NaN at 5, NaN at 6</li>" in drawn


def test_of_many_such_values_the_first_are_named():
    drawn = draw_chart(chart_of(record([NAN] * 200)), 0, Span(0, 200), ["a"])
    assert "NaN at 4, …</li>" in drawn
    assert drawn.count("\u00d7</text>") <= 60
    assert value_span(chart_of(record([NAN] * 200))) == Span(0.0, 1.0)


def test_a_chart_is_told_in_words():
    text = describe(chart_of(record([2.0, 0.125, 0.25])), ["a"])
    assert text == "loss over iterations. train: 2 at first, 0.25 at last, from 0.125 to 2."
    assert "b, train: 1 at first" in describe(chart_of(record([2.0]), record([1.0])), ["a", "b"])


def test_of_several_runs_each_has_a_colour_and_each_kind_a_line():
    drawn = draw_chart(chart_of(record([1.0, 2.0]), record([2.0, 1.0])), 3, Span(0, 1), ["a", "b"])
    assert re.findall(r'<g class="curve ([^"]*)" data-run="(\d)" data-kind="(\d)">', drawn) == [
        ("c0 d0", "0", "0"),
        ("c1 d0", "1", "0"),
    ]
    assert '<svg class="neutral d0"' in drawn
    assert 'data-chart="3"' in drawn


def test_the_script_gets_numbers_of_six_digits_and_texts_for_what_is_no_number():
    data = chart_data(chart_of(record([1 / 3, NAN, INF])))
    assert data["curves"] == [{"run": 0, "kind": 0, "x": [0, 1, 2], "y": [0.333333, "NaN", "∞"]}]
    assert data["kinds"] == [{"label": "train", "marked": False, "look": "c0 d0"}]
    assert data["smooth"] is True


def test_of_a_thinned_curve_it_gets_the_means_as_well():
    [curve] = chart_data(chart_of(record([float(index % 2) for index in range(5_000)])))["curves"]
    assert len(curve["means"]) <= 500
    assert {mean for _, mean in curve["means"]} == {0.5}
