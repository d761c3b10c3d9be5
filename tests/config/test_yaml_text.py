"""What is written reads back to the same."""

import math

import pytest
from hypothesis import given, strategies as st

from framework.config.yaml_file import parse_value
from framework.config.yaml_text import write_yaml

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from(
    [
        "no",
        "yes",
        "on",
        "null",
        "~",
        "1e-2",
        "1E5",
        "3",
        "010",
        "0x1F",
        "1:30",
        "2024-01-31",
        "true",
        ".inf",
        ".nan",
        "",
        " ",
        "<<",
        "=",
        "- a",
        "a: b",
        "#",
        "1_000",
        "*a",
        "&a",
        "!a",
        "\t",
        "a\nb",
        "a\x85b",
        "---",
        "...",
    ]
)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@given(PLAIN)
def test_reads_back(value):
    found = parse_value(write_yaml(value), "--x")
    assert found == value
    assert repr(found) == repr(value)  # 1 and True and 1.0 are equal; -0.0 and 0.0 too


@pytest.mark.parametrize("text", ["a\nb", "a\x85b", "\x85", "a\u2028b", "a\u2029b", "a\rb", "a\tb", "\ufeff"])
def test_line_breaks_read_back(text):
    assert parse_value(write_yaml({text: [text]}), "--x") == {text: [text]}


def test_not_a_number_reads_back():
    assert math.isnan(parse_value(write_yaml(math.nan), "--x"))


@pytest.mark.parametrize("value", [0.1 + 0.2, 1e-7, 1e22, 5e-324, 1.7976931348623157e308, 3e-3])
def test_floats_are_exact(value):
    assert parse_value(write_yaml({"x": value}), "--x")["x"].hex() == value.hex()


def test_what_repeats_is_written_out_and_long_texts_stay_on_their_line():
    shared = ["a " * 200]
    assert write_yaml({"x": shared, "y": shared}).count("a a") == 200
    assert len(write_yaml({"x": shared, "y": shared}).splitlines()) == 4
