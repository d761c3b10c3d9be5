"""Commands that torchrun has started in several processes: what they say comes once, and files are written once."""

import json

import pytest
from safetensors.torch import load_file

from framework import main
from framework.cli.once import say
from tests.distributed.ranks import on_ranks


def test_only_rank_0_says_something(capsys, monkeypatch):
    say("one", "two")
    say("wrong", error=True)
    assert capsys.readouterr() == ("one\ntwo\n", "wrong\n")
    for name, value in {"RANK": 1, "LOCAL_RANK": 1, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": 1}.items():
        monkeypatch.setenv(name, str(value))
    say("one", "two")
    assert capsys.readouterr() == ("", "")
    assert main(["fti"]) == 2  # another process of this machine tells of it
    assert capsys.readouterr() == ("", "")
    monkeypatch.setenv("LOCAL_RANK", "0")  # of another machine
    assert main(["fti"]) == 2
    assert capsys.readouterr().err.startswith("framework: error: there is no command 'fti'.")


def call(rank, lines):
    return [main(line.split()) for line in lines]


LINES = [
    "fit --config config.yaml --fit.max_epochs 2",
    "resume runs/points",
    "resume runs/points --fit.max_epochs 3",
    "evaluate runs/points",
    "evaluate runs/points --json",
    "predict runs/points --output predictions.safetensors",
]


@pytest.mark.filterwarnings("ignore:Nothing was trained")
def test_the_commands_of_two_processes(project, capfd):
    assert on_ranks(2, call, LINES) == [[0] * len(LINES)] * 2
    out = capfd.readouterr().out
    for text in (
        "completed   max_epochs=2 was reached.",
        "completed   max_epochs=3 was reached.",
        "The run in runs/points is over: max_epochs=2 was reached. Nothing was trained.",
        '"split": "test"',
        "written to predictions.safetensors",
    ):
        assert out.count(text) == 1, out
    assert out.count("test data, weights of ") == 2  # evaluate and predict
    assert load_file(project / "predictions.safetensors")["prediction"].shape == (12, 3)
    assert [entry["world_size"] for entry in json.loads((project / "runs/points/environment.json").read_text())] == [2, 2]
