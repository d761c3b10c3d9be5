"""`framework evaluate`."""

import json
import re
from pathlib import Path

import pytest
import torch

from framework.cli.evaluate import table
from framework.report.reading import read_run


def test_it_measures_the_test_data_with_the_best_weights(trained, say):
    said = say("evaluate runs/points")
    first, *lines = said.out.splitlines()
    assert said.code == 0
    assert first == f"test data, weights of {read_run('runs/points').best_checkpoint.path.name} (best)"
    assert [line.split()[0] for line in lines] == ["test/loss", "test/accuracy"]


def test_on_the_validation_data_it_gives_what_the_training_gave(trained, say):
    said = say("evaluate runs/points --split val --weights last --json")
    found = json.loads(said.out)
    record = read_run("runs/points")
    assert (found["run"], found["split"]) == ("runs/points", "val")
    assert found["weights"] == "runs/points/checkpoints/step-00000015"
    assert found["metrics"]["test/loss"] == record.metrics["val/loss"]
    assert found["metrics"]["test/accuracy"] == record.metrics["val/accuracy"]


def test_averaged_weights_are_taken_where_the_run_has_them(project, say):
    with Path("config.yaml").open("a") as file:
        file.write("  handlers:\n    - class_path: EMA\n      init_args: {decay: 0.5}\n")
    say("fit --config config.yaml")
    found = json.loads(say("evaluate runs/points --split val --weights last --json").out)
    assert found["metrics"]["test/loss"] == read_run("runs/points").metrics["val/loss"]


def test_several_validation_data_are_measured_each(trained, say):
    said = say("evaluate runs/points --split val --data.class_path data.load_named --json")
    assert said.code == 2  # load_named has no size
    assert "size" in said.err
    Path("runs/points/config.yaml").write_text(Path("config.yaml").read_text().replace("data.load", "data.load_named"))
    said = say("evaluate runs/points --split val --json")
    assert list(json.loads(said.out)["metrics"]) == ["test/easy/loss", "test/easy/accuracy", "test/hard/loss", "test/hard/accuracy"]


def test_without_test_data_it_takes_those_for_validation(trained, say):
    Path("runs/points/config.yaml").write_text(Path("config.yaml").read_text().replace("data.load", "data.load_named"))
    assert say("evaluate runs/points").out.startswith("val data, weights of ")


def test_fewer_batches_of_another_size_on_another_accelerator(trained, say):
    said = say("evaluate runs/points --limit_batches 1 --data.batch_size 4 --accelerator cpu --precision bf16 --json")
    limited = json.loads(said.out)["metrics"]
    assert limited["test/accuracy"] in (0.0, 0.25, 0.5, 0.75, 1.0)
    assert limited != json.loads(say("evaluate runs/points --json").out)["metrics"]


def test_weights_from_a_file(trained, say):
    from safetensors.torch import load_file, save_file

    weights = load_file(read_run("runs/points").last_checkpoint.path / "model.safetensors")
    save_file({name: torch.zeros_like(each) for name, each in weights.items()}, "zero.safetensors")
    said = say("evaluate runs/points --weights zero.safetensors --json")
    assert json.loads(said.out)["metrics"]["test/loss"] == pytest.approx(1.0986, abs=1e-4)  # log 3


@pytest.mark.parametrize(
    ("run", "told"),
    [
        ("runs/pionts", "runs/pionts is no folder: .* The runs near it: runs/points"),
        ("runs", "runs holds no run: .* The runs near it: runs/points"),
        ("runs/points/checkpoints/step-00000015", "holds no run: .* The runs near it: runs/points"),
    ],
)
def test_a_folder_that_is_no_run_is_told_with_the_runs_near_it(trained, say, run, told):
    said = say(f"evaluate {run}")
    assert said.code == 2
    assert re.search(told, said.err), said.err


def test_a_run_of_a_script_is_refused(trained, say):
    Path("runs/points/config.yaml").write_text("model:\n  class_path: __main__.Points\n")
    assert "Call evaluate of its module in Python." in say("evaluate runs/points").err


def test_a_table():
    assert table({"test/loss": 0.123456789, "test/count": 3}) == "test/loss   0.123457\ntest/count  3"
    assert table({"test/matrix": torch.eye(2)}) == "test/matrix  tensor([[1., 0.],\n                     [0., 1.]])"


def test_handlers_and_loggers_of_the_run_are_not_made(trained, say):
    file = Path("runs/points/config.yaml")
    text = file.read_text()
    file.write_text(text.replace("loggers: []", "loggers: [gone.Gone]").replace("handlers: []", "handlers: [gone.Gone]"))
    assert "gone.Gone" in say("show runs/points").err
    assert say("evaluate runs/points").code == 0
    assert say("predict runs/points --split test --output p.jsonl").code == 0
