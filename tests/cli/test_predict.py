"""`framework predict`."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from framework.cli.parts import make_parts
from framework.config.configuration import read_configuration


def test_it_writes_tensors_in_the_order_of_the_data(trained, say):
    said = say("predict runs/points --output p.safetensors --weights last")
    assert said.code == 0
    assert said.out == "test data, weights of step-00000015 (last)\nprediction  float32 (12, 3)\nwritten to p.safetensors\n"
    configuration = read_configuration([Path("config.yaml")], project=Path())
    module, data = make_parts(configuration)
    expected = module.predict(data["test"], accelerator="cpu", weights="runs/points/checkpoints/step-00000015")
    assert torch.equal(load_file("p.safetensors")["prediction"], expected)


def test_a_line_of_json_for_each_sample(trained, say):
    said = say("predict runs/points --output p.jsonl --split val --limit_batches 1")
    assert said.out.splitlines()[1:] == ["8 lines with prediction", "written to p.jsonl"]
    lines = [json.loads(line) for line in Path("p.jsonl").read_text().splitlines()]
    assert [len(line["prediction"]) for line in lines] == [3] * 8


def test_data_to_predict_come_first(trained, say):
    with Path("data.py").open("a") as file:
        file.write("\n\ndef load_all():\n    train, val, test = load()\n    return {'predict': val, 'test': test}\n")
    Path("runs/points/config.yaml").write_text(Path("config.yaml").read_text().replace("data.load", "data.load_all"))
    assert say("predict runs/points --output p.jsonl").out.startswith("predict data, ")


def test_a_file_is_only_replaced_on_request(trained, say):
    Path("p.jsonl").write_text("mine")
    said = say("predict runs/points --output p.jsonl")
    assert said.code == 2
    assert said.err == "framework: error: --output p.jsonl exists already. Give another name, or --overwrite to replace it.\n"
    assert Path("p.jsonl").read_text() == "mine"
    assert say("predict runs/points --output p.jsonl --overwrite").code == 0
    assert Path("p.jsonl").read_text() != "mine"


@pytest.mark.parametrize(
    ("output", "told"),
    [
        ("p.pt", "--output p.pt: its name should end in .safetensors or .jsonl, which says how to write it."),
        ("nowhere/p.jsonl", "--output nowhere/p.jsonl: there is no folder nowhere. Make it first."),
        ("folder.jsonl", "--output folder.jsonl is a folder. Name a file."),
    ],
)
def test_a_file_that_cannot_be_written_is_told_before_anything_is_predicted(trained, say, output, told):
    Path("folder.jsonl").mkdir()
    assert say(f"predict runs/none --output {output}").err == f"framework: error: {told}\n"


def test_several_data_are_refused(trained, say):
    Path("runs/points/config.yaml").write_text(Path("config.yaml").read_text().replace("data.load", "data.load_named"))
    said = say("predict runs/points --output p.jsonl")
    assert said.code == 2
    assert "The val data are several: easy, hard. Predictions are of one; name another --split." in said.err
    assert not Path("p.jsonl").exists()


def test_a_run_of_a_script_is_refused(trained, say):
    Path("runs/points/config.yaml").write_text("model:\n  class_path: __main__.Points\n")
    assert "Call predict of its module in Python." in say("predict runs/points --output p.jsonl").err
