"""Predictions in files."""

import json
import os
from collections import namedtuple

import numpy
import pytest
import torch
from safetensors.torch import load_file

from framework import ConfigError
from framework.cli.predictions import write_jsonl, write_safetensors


def test_a_lone_tensor_is_called_prediction(tmp_path):
    file = tmp_path / "p.safetensors"
    assert write_safetensors(torch.arange(6.0).reshape(3, 2), file) == "prediction  float32 (3, 2)"
    assert torch.equal(load_file(file)["prediction"], torch.arange(6.0).reshape(3, 2))


def test_a_tree_is_named_by_its_keys_and_places(tmp_path):
    file = tmp_path / "p.safetensors"
    box = namedtuple("box", "low high")
    same = torch.ones(2)
    tree = {"logits": same, "pair": (same, numpy.zeros(2)), "box": box(same.bool(), same), "sets": [{"a": same}, {"a": same}]}
    write_safetensors(tree, file)
    loaded = load_file(file)
    assert set(loaded) == {
        *("prediction.logits", "prediction.pair.0", "prediction.pair.1", "prediction.box.low", "prediction.box.high"),
        *("prediction.sets.0.a", "prediction.sets.1.a"),
    }
    assert loaded["prediction.pair.1"].dtype == torch.float64


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"names": ["a"]}, r"prediction.names.0 is of type str, which a .safetensors file cannot hold. Write p.jsonl."),
        (numpy.array(["a"]), "prediction is of type ndarray"),
        (torch.ones(1, dtype=torch.complex64), "prediction is of type complex64"),
    ],
)
def test_what_is_no_tensor_of_a_known_type_is_refused(tmp_path, tree, message):
    with pytest.raises(ConfigError, match=message):
        write_safetensors(tree, tmp_path / "p.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_two_predictions_of_one_name_are_refused(tmp_path):
    tree = {"a.b": torch.ones(1), "a": {"b": torch.ones(1)}}
    with pytest.raises(ConfigError, match=r"Two predictions are called prediction.a.b. Let prediction_step"):
        write_safetensors(tree, tmp_path / "p.safetensors")


def lines(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_a_line_is_a_sample(tmp_path):
    file = tmp_path / "p.jsonl"
    tree = {
        "y": torch.tensor([[1.0, float("nan")], [2.0, 3.0]]),
        "names": ["a", "b"],
        "pair": (torch.tensor([1, 2]), numpy.ones(2)),
    }
    assert write_jsonl(tree, file) == "2 lines with prediction.y, prediction.names, prediction.pair.0, prediction.pair.1"
    first, second = lines(file)
    assert first == {"prediction.y": [1.0, "NaN"], "prediction.names": "a", "prediction.pair.0": 1, "prediction.pair.1": 1.0}
    assert second["prediction.y"] == [2.0, 3.0]


def test_samples_of_different_shapes_are_lines_too(tmp_path):
    file = tmp_path / "p.jsonl"
    write_jsonl([torch.ones(1), torch.ones(2)], file)
    assert lines(file) == [{"prediction": [1.0]}, {"prediction": [1.0, 1.0]}]


def test_parts_of_different_lengths_are_refused(tmp_path):
    with pytest.raises(
        ConfigError, match=r"a line a sample, but prediction.0 has 2, prediction.1 has 3 entries. Write p.safetensors"
    ):
        write_jsonl((torch.ones(2), torch.ones(3)), tmp_path / "p.jsonl")


@pytest.mark.parametrize(("write", "name"), [(write_safetensors, "p.safetensors"), (write_jsonl, "p.jsonl")])
def test_a_write_that_fails_leaves_what_was_there(tmp_path, write, name, monkeypatch):
    file = tmp_path / name
    file.write_text("before")

    def fail(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        write(torch.ones(2), file)
    assert file.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == [name]
