"""Strict YAML: what is read, what stays text, what is refused and on which line."""

import math
import os
import re

import pytest

from framework import ConfigError
from framework.config.yaml_file import DEEPEST, LARGEST, parse_value, read_yaml


def written(tmp_path, text):
    file = tmp_path / "config.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def refusal(tmp_path, text):
    with pytest.raises(ConfigError) as caught:
        read_yaml(written(tmp_path, text))
    return str(caught.value).replace(f"{tmp_path}/", "")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-2", 0.01),
        ("1E5", 100000.0),
        ("-.5", -0.5),
        ("3.", 3.0),
        ("6.02e+23", 6.02e23),
        ("-.inf", -math.inf),
        ("+12", 12),
        ("-0", 0),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("''", ""),
        ("'3'", "3"),
        ('"null"', "null"),
    ],
)
def test_numbers_booleans_and_null(text, value):
    found = parse_value(text, "--x")
    assert found == value
    assert type(found) is type(value)


def test_not_a_number_is_read():
    assert math.isnan(parse_value(".nan", "--x"))


@pytest.mark.parametrize(
    "text",
    [
        "yes",
        "no",
        "on",
        "off",
        "y",
        "n",
        "Yes",
        "010",
        "0x1F",
        "0o17",
        "0b11",
        "1_000",
        "1:30",
        "2024-01-31",
        "1.2.3",
        "1e",
        "007.5",
        "nul",
        "=",
    ],
)
def test_what_looks_like_something_else_elsewhere_stays_text(text):
    assert parse_value(text, "--x") == text


def test_each_value_has_its_line(tmp_path):
    tree = read_yaml(written(tmp_path, "model:\n  # a comment\n  lr: 1\nfit: {handlers:\n  [a,\n   b]}\n"))
    assert {path: place.line for path, place in tree.places.items()} == {
        (): 1,
        ("model",): 1,
        ("model", "lr"): 3,
        ("fit",): 4,
        ("fit", "handlers"): 4,
        ("fit", "handlers", 0): 5,
        ("fit", "handlers", 1): 6,
    }


def test_anchors_and_merge_keys(tmp_path):
    text = (
        "base: &base {lr: 1, width: 2}\nmore: &more {width: 5, depth: 6}\nmodel: {<<: [*base, *more], lr: 3}\ndata: {<<: *base}\n"
        + "'<<': x\n"
    )
    values = read_yaml(written(tmp_path, text)).values
    assert values["model"] == {"lr": 3, "width": 2, "depth": 6}
    assert values["data"] == {"lr": 1, "width": 2}
    assert values["<<"] == "x"


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path):
    assert read_yaml(written(tmp_path, b"\xef\xbb\xbffit: {}")).values == {"fit": {}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "config.yaml, line 3: a stands here again, after line 1. Leave one out."),
        (
            "a: 1\nb: !!python/object/apply:os.system [x]\n",
            "config.yaml, line 2: the tag !!python/object/apply:os.system is not allowed: values are plain.",
        ),
        ("a: !!str 1", "config.yaml, line 1: the tag !!str is not allowed: values are plain."),
        ("a: !mine 1", "config.yaml, line 1: the tag !mine is not allowed: values are plain."),
        ("!!map {a: 1}", "config.yaml, line 1: the tag !!map is not allowed: values are plain."),
        ("a: 1\n---\nb: 2\n", "config.yaml, line 2: a second document begins here, a configuration is one."),
        ("1: a", "config.yaml, line 1: the key 1 is no text; quote it."),
        ("true: a", "config.yaml, line 1: the key True is no text; quote it."),
        ("[a]: 1", "config.yaml, line 1: a key is a text, not a list or a mapping."),
        ("a:\n\tb: 1", "config.yaml, line 2: a tab stands here; YAML is indented by spaces."),
        (
            "a: b: c",
            "config.yaml, line 1: a second ':' stands here; indent the line like its neighbours, end the line above with ':', or "
            "quote the text.",
        ),
        ("a: [1\nb: 2", "config.yaml, line 2: this is no YAML: "),
        ("a: *b", "config.yaml, line 1: this is no YAML: found undefined alias 'b'."),
        ("<<: 3", "config.yaml, line 1: << takes a mapping, or a list of them, got 3."),
        ("a: 1\nb: \x00", "config.yaml, line 2: the character U+0000 may not stand in YAML."),
        (b"a: 1\nb: \xff", "config.yaml, line 2: this is no UTF-8. Save the file as UTF-8."),
        ("", "config.yaml is empty. It should have model, data and fit."),
        ("# nothing", "config.yaml is empty. It should have model, data and fit."),
        ("- a", "config.yaml, line 1: a configuration is a mapping of model, data and fit, got ['a']."),
    ],
)
def test_refused_with_its_line(tmp_path, text, message):
    assert refusal(tmp_path, text).startswith(message)


def test_duplicate_keys_are_told_together(tmp_path):
    assert len(refusal(tmp_path, "a: {x: 1, x: 2}\nb: 1\nb: 2\n").splitlines()) == 2


def test_a_large_file_is_refused(tmp_path):
    assert "config.yaml has more than 262,144 bytes, too many for a configuration." in refusal(tmp_path, "a" * (LARGEST + 1))


def test_what_anchors_multiply_is_bounded(tmp_path):
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{after}: &{after} [{','.join([f'*{before}'] * 9)}]\n" for before, after in zip("abcdefgh", "bcdefghi", strict=True)
    )
    assert "there are more than 20,000 values" in refusal(tmp_path, bomb)
    merged = "a: &a {x: 1}\n" + "".join(
        f"{after}: &{after} {{<<: [{','.join([f'*{before}'] * 9)}]}}\n"
        for before, after in zip("abcdefgh", "bcdefghi", strict=True)
    )
    assert "there are more than 20,000 values" in refusal(tmp_path, merged)
    assert "Write out what is meant." in refusal(tmp_path, "a: &a [*a]")


@pytest.mark.parametrize("opening", ["[", "{a: ", "- "])
def test_depth_is_bounded(tmp_path, opening):
    assert f"values are nested more than {DEEPEST} deep" in refusal(tmp_path, opening * 5000)


def test_a_number_of_many_digits_is_text():
    assert isinstance(parse_value("9" * 5000, "--x"), str)


def test_a_file_that_is_not_there(tmp_path):
    written(tmp_path, "a: 1")
    for name, end in {
        "confg.yaml": f"is not there. Did you mean {tmp_path}/config.yaml?",
        "qqq": f"is not there. In {tmp_path} there is config.yaml.",
        "none/a.yaml": f"is not there. There is no folder {tmp_path}/none.",
        "": f"is a folder. Give the file in it: {tmp_path}/config.yaml.",
    }.items():
        with pytest.raises(ConfigError, match=re.escape(end)):
            read_yaml(tmp_path / name)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ConfigError, match="there is no YAML file"):
        read_yaml(empty / "a.yaml")


def test_a_file_that_cannot_be_read(tmp_path, monkeypatch):
    file = written(tmp_path, "a: 1")

    def fail(path, mode):
        raise PermissionError(13, os.strerror(13))

    monkeypatch.setattr(type(file), "open", fail)
    with pytest.raises(ConfigError, match="cannot be read: Permission denied"):
        read_yaml(file)


def test_a_value_of_the_command_line_has_no_line():
    with pytest.raises(ConfigError, match=r"^--fit\.x: this is no YAML"):
        parse_value("[1", "--fit.x")
