import math

import numpy as np
import pytest
import torch

from framework import SettingError
from framework.metrics.direction import better, direction, monitored

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("monitor", "mode", "directions", "expected"),
    [
        ("val/loss", "max", {"val/loss": False}, "max"),
        ("val/accuracy", "min", {}, "min"),
        ("val/accuracy", None, {"val/accuracy": True}, "max"),
        ("val/error", None, {"val/error": False}, "min"),
        ("val/hinge_loss", None, {"val/hinge_loss": True}, "max"),
        ("val/loss", None, {"train/loss": True}, "min"),
        ("val/HingeLoss", None, {}, "min"),
    ],
)
def test_the_mode_decides_then_the_metric_then_the_name(monitor, mode, directions, expected):
    assert direction(monitor, mode, directions) == expected


@pytest.mark.parametrize("mode", ["MIN", "auto", "", 1, True, ["min"]])
def test_a_mode_is_one_of_two(mode):
    with pytest.raises(SettingError) as error:
        direction("val/loss", mode, {})
    assert str(error.value) == f"mode={mode!r}: mode is 'min', 'max', or None to follow the metric."


@pytest.mark.parametrize("monitor", ["val/accuracy", "val/loss/generator", "val/lossy", "los"])
def test_a_direction_is_never_guessed(monitor):
    with pytest.raises(SettingError) as error:
        direction(monitor, None, {monitor: None, "val/f1": True, "val/size": None})
    assert str(error.value) == (
        f"monitor={monitor!r}: whether a lower or a higher value is better cannot be told from the metric or its name. "
        "Give mode='min' or mode='max'. Those that tell it are 'val/f1'."
    )


@pytest.mark.parametrize("monitor", ["val/f1/macro", "val/size", "val/size/mean"])
def test_a_metric_and_its_parts_are_known_by_name(monitor):
    with pytest.raises(SettingError, match=r"better cannot be told .* Those that tell it are 'val/f1'.$"):
        direction(monitor, None, {"val/f1": True, "val/size": None})


def test_without_metrics_no_name_is_taken_for_a_wrong_one():
    with pytest.raises(SettingError, match=r"better cannot be told from the metric or its name. Give mode='min' or mode='max'.$"):
        direction("val/grade", None, {})


@pytest.mark.parametrize(
    ("monitor", "names"),
    [
        ("val/acuracy", "Did you mean val/accuracy?"),
        ("val/sise", "Did you mean val/size?"),
        ("grade", "Those of configure_metrics are val/accuracy, val/size."),
    ],
)
def test_a_monitor_that_no_metric_is_called_is_told_the_nearest_name(monitor, names):
    with pytest.raises(SettingError) as error:
        direction(monitor, None, {"val/accuracy": True, "val/size": None})
    assert str(error.value) == (
        f"monitor={monitor!r}: no metric is called {monitor}. {names} "
        "A value that is logged or returned under this name needs mode='min' or mode='max'."
    )


@pytest.mark.parametrize(
    ("new", "best", "lower", "higher"),
    [
        (1.0, 2.0, True, False),
        (2.0, 1.0, False, True),
        (1.0, 1.0, False, False),
        (-0.0, 0.0, False, False),
        (1.0, None, True, True),
        (INF, None, True, True),
        (1.0, NAN, True, True),
        (INF, NAN, True, True),
        (NAN, None, False, False),
        (NAN, NAN, False, False),
        (NAN, INF, False, False),
        (1.0, INF, True, False),
        (1.0, -INF, False, True),
        (INF, INF, False, False),
        (-INF, -INF, False, False),
    ],
)
def test_better_is_strictly_better_and_nan_is_worst(new, best, lower, higher):
    assert better(new, best, "min") is lower
    assert better(new, best, "max") is higher


@pytest.mark.parametrize(("new", "expected"), [(0.75, False), (0.5, False), (0.25, True)])
def test_an_improvement_is_one_by_more_than_min_delta(new, expected):
    assert better(new, 1.0, "min", min_delta=0.5) is expected
    assert better(-new, -1.0, "max", min_delta=0.5) is expected


@pytest.mark.parametrize("value", [2, 2.0, True + 1, np.float32(2), np.int64(2), torch.tensor(2), torch.tensor([[2.0]])])
def test_a_monitored_value_is_a_float(value):
    found = monitored("val/x", {"val/x": value})
    assert type(found) is float
    assert found == 2.0


def test_a_monitor_that_is_not_there_names_those_that_are_the_nearest_first():
    metrics = {"train/loss": 1.0, "val/loss": 1.0, "val/accuracy": 1.0}
    with pytest.raises(SettingError) as error:
        monitored("val/acuracy", metrics)
    assert str(error.value) == (
        "monitor='val/acuracy': the evaluation gives no such metric. "
        "There are 'val/accuracy', 'val/loss', 'train/loss'; give one of these."
    )


def test_a_monitor_where_there_is_no_metric_at_all():
    with pytest.raises(SettingError, match=r"monitor='val/x': .* no such metric. There are none; return or log one.$"):
        monitored("val/x", {})


@pytest.mark.parametrize(
    ("value", "came"),
    [
        (torch.ones(2), "type Tensor of shape (2,)"),
        (torch.ones(0), "type Tensor of shape (0,)"),
        (torch.tensor(1j), "type complex"),
        ("0.5", "type str"),
        (None, "type NoneType"),
        (np.ones(2), "type ndarray"),
    ],
)
def test_a_monitored_metric_is_a_single_number(value, came):
    with pytest.raises(SettingError) as error:
        monitored("val/x", {"val/x": value})
    assert str(error.value) == (
        f"monitor='val/x': the metric should be a single number, got a value of {came}. Monitor one that is, such as its mean."
    )


def test_what_rounding_makes_of_a_tie_is_no_improvement():
    one, other = 0.9027777751286824, 0.9027777817514208  # 325 of 360, by the means of other batches
    assert not better(other, one, "max")
    assert not better(one, other, "min")
    assert better(0.902779, one, "max")
    assert better(1e-9, 2e-9, "min")
