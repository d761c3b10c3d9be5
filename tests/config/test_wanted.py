"""Types in words."""

import enum
from collections.abc import Callable
from typing import Any, Literal

import pytest
from torch import nn

from framework.config.wanted import nearest_of, wanted


class Size(enum.Enum):
    SMALL = 1
    LARGE = 2


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (int, "a whole number"),
        (bool, "true or false"),
        (str | None, "text or null"),
        (int | str | None, "a whole number or text or null"),
        (list, "a list"),
        (list[int], "a list of whole numbers"),
        (list[bool], "a list of true or false"),
        (tuple[int, ...], "a list of whole numbers"),
        (tuple[int, str], "a list of 2: a whole number, text"),
        (set[float], "a list of numbers"),
        (dict[str, int], "a mapping to whole numbers"),
        (Literal["a", 1], "one of 'a', 1"),
        (Literal["a"], "'a'"),
        (Size, "one of SMALL, LARGE"),
        (nn.Module, "a Module"),
        (type[nn.Module], "the name of a Module class"),
        (Callable, "the name of a function"),
        (Callable[[int], int], "the name of a function"),
        (Callable[..., Any], "the name of a function"),
        (Callable[..., nn.Module], "the name of a function, or of a Module class"),
        (Any, "anything"),
    ],
)
def test_words(hint, words):
    assert wanted(hint) == words


def test_the_nearest_choice():
    assert nearest_of(Literal["plain", 3], "plan") == " Did you mean plain?"
    assert nearest_of(Size | None, "SMAL") == " Did you mean SMALL?"
    assert nearest_of(Size, 3) == nearest_of(int, "3") == ""
