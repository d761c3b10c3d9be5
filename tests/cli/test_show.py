"""`framework show`."""

from pathlib import Path

import pytest


def test_it_prints_the_loop_of_a_configuration(project, say):
    said = say("show --config config.yaml --fit.clip_norm 1.0")
    assert said.code == 0
    assert "loss = model.training_step(batch, engine)" in said.out
    assert "clip" in said.out
    assert not Path("runs").exists()


def test_of_a_run_it_names_the_settings_that_are_not_as_by_default(trained, say):
    said = say("show runs/points")
    first, *lines = said.out.splitlines()
    assert lines == say("show --config config.yaml").out.splitlines()[1:]
    assert first.startswith("# Points.fit(train_data, val_data, max_epochs=3, accelerator='cpu', seed=0")
    assert "allow_changes" not in first


@pytest.mark.parametrize("line", ["show", "show runs/points --config config.yaml"])
def test_it_takes_one_of_the_two(trained, say, line):
    said = say(line)
    assert said.code == 2
    assert "show takes the folder of a run, or --config FILE, one of the two: framework show --config" in said.err


def test_a_run_of_a_script_is_refused(trained, say):
    Path("runs/points/config.yaml").write_text("model:\n  class_path: __main__.Points\n")
    assert "Call show_loop of its module in Python." in say("show runs/points").err
