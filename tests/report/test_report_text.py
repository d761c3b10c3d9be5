import math
from pathlib import Path

import pytest

from framework.report.text import html, link, moment, number, script_json, seconds, visible


@pytest.mark.parametrize("text", ["</script><img src=x onerror=alert(1)>", "\"'&", "<!--", "a\u202eb\u2066", "\x00\x1b[31m\ud800"])
def test_no_text_becomes_code_or_turns_what_is_around_it(text):
    for written in (html(text), script_json([text])):
        assert not set(written[2:-2]) & {"<", ">", "\u202e", "\u2066", "\x00", "\x1b", "\ud800", "\u2028"}
    assert not {'"', "'"} & set(html(text))


def test_ordinary_letters_stay():
    assert html("Zürich 東京 🙂") == visible("Zürich 東京 🙂") == "Zürich 東京 🙂"
    assert visible("a\u2028b\tc\nd") == "a\\u2028b\tc\nd"


def test_numbers():
    assert [number(value) for value in (0, 12, -3, 2.0, -0.5, 1 / 3, 1e-9, -2.5e8)] == [
        *("0", "12", "-3", "2", "-0.5", "0.3333", "1e-9", "-2.5e8")
    ]
    assert [number(value) for value in (math.nan, math.inf, -math.inf)] == ["NaN", "∞", "-∞"]
    assert number(10**400) == str(10**400)


def test_links_are_relative_and_name_no_other_scheme(tmp_path):
    runs = tmp_path / "runs"
    assert link(runs / "javascript:alert(1)" / "x", runs) == "javascript%3Aalert%281%29/x"
    assert link(runs / 'a"b <c>#?%' / "x", runs) == "a%22b%20%3Cc%3E%23%3F%25/x"
    assert link(runs / "a", tmp_path / "pages") == "../runs/a"
    assert link(Path("x"), Path()) == "x"
    assert link(tmp_path / "\udcff", tmp_path) == "%FF"


def test_times():
    assert [seconds(value) for value in (0.04, 59.94, 60, 3599, 3600, 47 * 3600, 49 * 3600)] == [
        *("0.0 s", "59.9 s", "1 min 0 s", "59 min 59 s", "1 h 0 min", "47 h 0 min", "2 d 1 h")
    ]
    assert moment(0) == "1970-01-01 00:00 UTC"
    assert moment(1e30) == "1e30"
