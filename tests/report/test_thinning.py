import math
import random

import pytest

from framework.report.thinning import is_drawn, thin

NAN, INF = math.nan, math.inf


def test_a_short_curve_stays_as_it_is():
    assert thin([1, 2, 3], [0.5, NAN, 0.25], 4)[0] == [1, 2, 3]
    assert thin([], [], 4) == ([], [], None)


@pytest.mark.parametrize("most", [4, 10, 101, 1000])
def test_no_more_than_asked_for_and_nothing_outstanding_is_lost(most):
    draw = random.Random(0)
    ys = [draw.gauss(0, 1) for _ in range(5_000)]
    for spike in (0, 17, 2_500, 4_999):
        ys[spike] = 50.0 + spike
    xs, thinned, means = thin(range(5_000), ys, most)
    assert len(xs) <= most + 2
    assert xs == sorted(xs)
    assert (xs[0], xs[-1]) == (0, 4_999)
    assert all(ys[x] == y for x, y in zip(xs, thinned, strict=True))
    assert (min(thinned), max(thinned)) == (min(ys), max(ys))
    assert len(means) <= most // 2
    assert sum(mean for _, mean in means) / len(means) == pytest.approx(sum(ys) / len(ys), abs=0.5)


def test_each_kind_of_what_is_not_finite_stays():
    ys = [1.0] * 1_000
    ys[100:200] = [NAN] * 100
    ys[500], ys[501], ys[502] = INF, -INF, NAN
    _, thinned, means = thin(range(1_000), ys, 20)
    assert sum(map(math.isnan, thinned)) >= 2
    assert INF in thinned
    assert -INF in thinned
    assert [mean for _, mean in means] == pytest.approx([1.0] * len(means))


def test_a_curve_without_any_finite_value():
    xs, ys, means = thin(range(100), [NAN] * 100, 10)
    assert (xs[0], xs[-1]) == (0, 99)
    assert all(map(math.isnan, ys))
    assert means == []


def test_huge_values_whose_sum_is_infinite():
    ys = [9e299 if index % 2 else -1.0 for index in range(10**5)]
    _, thinned, means = thin(range(10**5), ys, 4)
    assert set(thinned) == {9e299, -1.0}
    assert all(is_drawn(mean) for _, mean in means)


def test_all_points_at_one_place_or_crowded_in_one():
    assert thin([5] * 100, [float(index) for index in range(100)], 10)[:2] == ([5, 5], [0.0, 99.0])
    xs = [*range(1_000), 10**9]
    assert thin(xs, [float(x == 400) for x in xs], 10)[:2] == ([0, 400, 10**9], [0.0, 1.0, 0.0])


def test_what_has_a_place():
    assert is_drawn(0.0)
    assert not any(map(is_drawn, (NAN, INF, -INF, 1e300, -1e305)))
