"""Training from a configuration, and what is told of its end."""

import json
import signal
from pathlib import Path

import pytest
import torch

from framework import Interrupted, seed_all
from framework.cli.training import numbers
from framework.module.resuming.stored_weights import find_checkpoint
from framework.report.reading import read_run


def test_it_trains_as_a_script_with_the_same_settings_does(trained, monkeypatch):
    monkeypatch.syspath_prepend(trained)
    import module
    from data import load

    seed_all(0)
    model = module.Points(hidden=8)
    seed_all(0)
    train, val, _ = load()
    model.fit(train, val, max_epochs=3, seed=0, accelerator="cpu", progress=False)
    stored = module.Points.load("runs/points", which="last")
    assert all(torch.equal(one, other) for one, other in zip(model.parameters(), stored.parameters(), strict=True))


def test_it_says_how_it_ended_and_what_to_do_next(project, say):
    said = say("fit --config config.yaml")
    lines = dict(line.split(maxsplit=1) for line in said.out.splitlines())
    assert said.code == 0
    assert lines["completed"] == "max_epochs=3 was reached."
    assert lines["metrics"].startswith("train/loss ")
    assert "val/accuracy 0." in lines["metrics"]
    assert lines["best"].startswith("runs/points/checkpoints/step-000000")
    assert lines["last"] == "runs/points/checkpoints/step-00000015"
    assert lines["next"] == "framework evaluate runs/points"


def test_what_to_do_next_names_the_project_as_the_call_did(project, say, monkeypatch):
    (project / "elsewhere").mkdir()
    monkeypatch.chdir(project / "elsewhere")
    told = say("fit --config ../config.yaml --project .. --trust timm").out.splitlines()[-1].split(maxsplit=1)[1]
    assert told == "framework evaluate runs/points --project .. --trust timm"
    assert say(told.removeprefix("framework ")).code == 0


def test_a_page_is_named_where_there_is_one(trained, say):
    Path("runs/points/report.html").touch()
    with pytest.warns(UserWarning, match="Nothing was trained"):
        said = say("fit --config config.yaml")
    assert "report      runs/points/report.html\n" in said.out


def test_a_run_without_a_folder_says_how_to_keep_one(project, say):
    said = say("fit --config config.yaml --fit.run_dir null --fit.monitor null")
    assert said.out.splitlines()[-1] == "next        give --fit.run_dir runs/first to keep the weights of a run"
    assert not Path("runs").exists()


def test_the_run_folder_has_the_whole_configuration(trained, say):
    text = Path("runs/points/config.yaml").read_text()
    assert text == say("fit --config config.yaml --print_config").out
    assert "accumulate: 1\n" in text
    assert json.loads(Path("runs/points/environment.json").read_text())[0]["seed"] == 0


def test_a_run_that_time_ends_says_how_to_go_on(project, say):
    said = say("fit --config config.yaml --fit.max_time_s 1e-9")
    assert said.code == 0
    assert said.out.startswith("interrupted ")
    assert said.out.splitlines()[-1] == "next        framework resume runs/points"


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_passes_through_and_says_how_to_go_on(project, capsys, say, monkeypatch, name, code):
    monkeypatch.setenv("SIGNAL_AT", f"{name} 7")
    monkeypatch.setattr(signal, "default_int_handler", signal.getsignal(signal.SIGINT))
    with pytest.raises(Interrupted) as left:
        say("fit --config config.yaml")
    assert left.value.code == code
    told = capsys.readouterr().err
    assert told.count("ended the run") == 1
    assert f"{name}{' (Ctrl-C)' if code == 130 else ''} ended the run in epoch 2, iteration 7; it is saved and goes on" in told
    assert told.endswith("next        framework resume runs/points\n")
    assert read_run("runs/points").status == "interrupted"
    monkeypatch.delenv("SIGNAL_AT")
    assert say("resume runs/points").out.splitlines()[1].startswith("metrics ")


def test_a_signal_to_a_run_without_a_folder_says_nothing_of_going_on(project, capsys, say, monkeypatch):
    monkeypatch.setenv("SIGNAL_AT", "SIGTERM 2")
    with pytest.raises(Interrupted):
        say("fit --config config.yaml --fit.run_dir null --fit.monitor null")
    told = capsys.readouterr().err
    assert told.endswith("SIGTERM ended the run in epoch 1, iteration 2.\n")
    assert "resume" not in told


def test_a_signal_to_a_dry_run_says_nothing_of_going_on(project, capsys, say, monkeypatch):
    monkeypatch.setenv("SIGNAL_AT", "SIGTERM 1")
    with pytest.raises(Interrupted):
        say("fit --config config.yaml --fit.dry_run true")
    told = capsys.readouterr().err
    assert "saved" not in told
    assert "resume" not in told


def test_a_dry_run_leaves_no_trace_and_says_what_it_measured(project, say):
    said = say("fit --config config.yaml --fit.dry_run true")
    assert said.out.startswith("Dry run of Points on cpu in fp32: one batch of everything.")
    assert "next " not in said.out
    assert not Path("runs").exists()


def test_data_without_train_are_refused(project, say):
    said = say("fit --config config.yaml --data.class_path data.load_test_only")
    assert said.code == 2
    assert said.err == "framework: error: The data have no train, which fit needs; they have test.\n"


def test_numbers_are_shown_and_nothing_else():
    assert numbers({"train/loss": 0.123456, "val/matrix": torch.ones(2, 2), "val/count": 3}) == "train/loss 0.1235  val/count 3"


def test_it_begins_with_given_weights(trained, say):
    said = say("fit --config config.yaml --weights runs/points --fit.run_dir runs/tuned --fit.seed 1 --fit.keep null")
    assert said.code == 0
    first = find_checkpoint("runs/tuned/checkpoints/step-00000000").read("model")
    best = find_checkpoint("runs/points", "best").read("model")
    assert all(torch.equal(first[name], best[name]) for name in best)
    said = say("fit --config config.yaml --weights runs/none --fit.run_dir runs/other")
    assert (said.code, said.err.splitlines()[0]) == (
        1,
        "framework: error: runs/none is neither a run, nor a checkpoint, nor a .safetensors file. Give the run_dir of fit, or one "
        "of its checkpoints/step-... folders.",
    )
