import math

import pytest
from hypothesis import given, settings, strategies as st

from framework.report.axes import SIZE, Span, span_of, ticks


def texts(low, high, about=5):
    return [text for _, text in ticks(Span(low, high), about)]


def test_numbers_become_places():
    assert [Span(0, 200).place(value) for value in (0, 50, 200)] == [0, 250, SIZE]
    assert Span(-1, 1).place(0) == SIZE / 2


def test_texts_have_as_many_digits_as_they_need():
    assert texts(-0.05, 1.05) == ["0", "0.5", "1.0"]
    assert texts(0.97, 0.99) == ["0.970", "0.975", "0.980", "0.985", "0.990"]
    assert texts(-3, 3) == ["-2", "0", "2"]
    assert texts(0, 5e6) == ["0", "1M", "2M", "3M", "4M", "5M"]
    assert texts(0, 12_000) == ["0", "5k", "10k"]
    assert texts(0, 2.2e-7) == ["0", "5e-8", "1.0e-7", "1.5e-7", "2.0e-7"]
    assert texts(0, 3e12) == ["0", "1e12", "2e12", "3e12"]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.floats(-1e300, 1e300, allow_nan=False), min_size=1, max_size=5))
def test_any_values_get_an_axis_with_ticks_inside(values):
    span = span_of(values)
    assert span.low < span.high
    assert all(0 <= span.place(value) <= SIZE for value in values)
    found = ticks(span)
    assert 1 <= len(found) <= 12
    assert all(math.isfinite(value) and -1 <= span.place(value) <= SIZE + 1 for value, _ in found)


@pytest.mark.parametrize("value", [0.0, 5e-324, 1e-300, 3.0, -7e20, 9e299])
def test_one_value_is_in_the_middle(value):
    span = span_of([value])
    assert span.place(value) == pytest.approx(SIZE / 2, abs=SIZE * 0.4)
    assert ticks(span)
