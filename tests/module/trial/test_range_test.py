"""What a range test makes of its losses. How they are measured is in test_find_lr."""

import math
import random
import sys

import pytest

from framework import RangeTest, SettingError


def found_in(losses, steps=100, lowest=1e-6, highest=1.0):
    found = RangeTest()
    for index, loss in enumerate(losses):
        found.add(lowest * (highest / lowest) ** (index / (steps - 1)), loss)
    return found


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def falls_at(middle, count=100, noise=0.0):
    """Losses that fall fastest at a step, and rise at the end."""
    drawn = random.Random(3)
    return [2.0 - 1.5 * sigmoid((step - middle) / 4) + max(0, step - 90) ** 2 + noise * drawn.gauss(0, 1) for step in range(count)]


def test_the_smoothed_loss_is_a_mean_that_favours_the_newest():
    found = found_in([4.0, 1.0, 2.5])
    assert found.smoothed == pytest.approx([4.0, (0.9 * 4 + 1) / 1.9, (0.81 * 4 + 0.9 + 2.5) / 2.71])
    assert found_in([3.0] * 20).smoothed == pytest.approx([3.0] * 20)


@pytest.mark.parametrize("middle", [30, 50, 70])
@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_the_suggestion_lies_where_the_loss_falls_fastest(middle, noise):
    found = found_in(falls_at(middle, noise=noise))
    step = 99 * math.log(found.suggestion / 1e-6) / math.log(1e6)
    assert abs(step - middle) < 5


def test_a_loss_that_does_not_fall_gives_none():
    assert found_in([float(step) for step in range(100)]).suggestion is None
    assert found_in([2.0, 1.0, 0.5, 4.0]).suggestion is None  # too few
    assert found_in([1.0] * 100).suggestion is None
    assert RangeTest().suggestion is None


def test_a_test_that_broke_off_early_looks_at_what_there_is():
    found = found_in([2.0, 1.9, 1.7, 1.2, 0.7, 0.5])
    assert found.rates[0] < found.suggestion < found.rates[-1]


@pytest.mark.parametrize(
    ("losses", "diverged"),
    [
        ([2.0, 1.5, 1.0, 0.5, 0.4], False),
        ([2.0, 1.5, 1.0, 0.5, 60.0], True),
        ([2.0, 2.5, 2.0, 2.5, 2.0, 3.0], False),
        ([-1.0, -1.5, -2.0, -2.5, -3.0], False),
        ([-1.0, -1.5, -2.0, -2.5, -3.0, 30.0], True),
        ([1.0, 0.5, 0.0, 0.0, 0.1, 0.2], False),
        ([0.1, 1e9], False),  # one batch is none
    ],
)
def test_it_has_diverged_far_above_the_best(losses, diverged):
    assert found_in(losses).has_diverged is diverged


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_the_plot_shows_it(tmp_path, ending):
    pytest.importorskip("matplotlib", reason="the extra `plots` is not installed")
    path = tmp_path / f"rates.{ending}"
    found_in(falls_at(50)).plot(path)
    begin = path.read_bytes()[:200]
    assert begin.startswith(b"\x89PNG") if ending == "png" else b"<?xml" in begin
    found_in([1.0] * 9).plot(str(path))  # without a suggestion


def test_a_plot_of_nothing_is_refused(tmp_path):
    with pytest.raises(SettingError, match="plot has nothing to draw: the range test has no step"):
        RangeTest().plot(tmp_path / "rates.png")


def test_a_plot_without_matplotlib_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(SettingError, match=r"plot draws with matplotlib.* pip install 'trainmodule\[plots\]'"):
        found_in([1.0, 0.5]).plot(tmp_path / "rates.png")
