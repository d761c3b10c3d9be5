"""What the function of the data may give."""

import pytest

from framework import ConfigError
from framework.config.data_parts import data_by_name


class Parts:
    def __init__(self, **parts):
        vars(self).update(parts)


@pytest.mark.parametrize(
    ("given", "parts"),
    [
        (([1], [2]), {"train": [1], "val": [2]}),
        (([1], None), {"train": [1]}),
        (([1], [2], [3]), {"train": [1], "val": [2], "test": [3]}),
        ({"predict": [1], "val": None}, {"predict": [1]}),
        (Parts(train=[1], test=[2], other=3), {"train": [1], "test": [2]}),
    ],
)
def test_parts(given, parts):
    assert data_by_name(given, "data.load") == parts


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            [[1], [2]],
            "data.load gives a list, which has no data by name. Give a tuple (train, val) or (train, val, test), a mapping",
        ),
        (None, "data.load gives None, which"),
        (([1],), "data.load gives a tuple of 1, which"),
        ((1, 2, 3, 4), "data.load gives a tuple of 4, which"),
        ((None, None), "data.load gives a tuple of 2, which"),
        (Parts(trains=[1]), "data.load gives a Parts, which"),
        ({}, "data.load gives a dict, which"),
        ({"validation": []}, "data.load gives a mapping with 'validation'. There are train, val, test, predict. Give"),
        ({"tests": []}, "data.load gives a mapping with 'tests'. Did you mean test? Give"),
    ],
)
def test_anything_else_is_refused(given, message):
    with pytest.raises(ConfigError) as caught:
        data_by_name(given, "data.load")
    assert str(caught.value).startswith(message)
