"""`framework fit`: the configuration it reads."""

import re
from pathlib import Path

import pytest
import yaml

from framework.report.reading import read_run


def test_the_configuration_is_printed_with_its_defaults_and_nothing_is_done(project, say):
    said = say("fit --config config.yaml --print_config --fit.max_epochs 7 --model.hidden=4")
    printed = yaml.safe_load(said.out)
    assert printed["model"] == {"class_path": "module.Points", "init_args": {"hidden": 4, "lr": 0.1}}
    assert printed["data"] == {"class_path": "data.load", "init_args": {"batch_size": 8, "size": 60}}
    assert (printed["fit"]["max_epochs"], printed["fit"]["accumulate"]) == (7, 1)
    assert not Path("runs").exists()


def test_what_is_printed_is_a_configuration_that_trains_the_same(trained, say):
    Path("whole.yaml").write_text(say("fit --config config.yaml --print_config").out)
    said = say("fit --config whole.yaml --fit.run_dir runs/again")
    assert said.code == 0
    assert read_run("runs/again").metrics == read_run("runs/points").metrics


def test_of_several_files_later_ones_win(project, say):
    Path("more.yaml").write_text("fit:\n  max_epochs: 1\n")
    assert say("fit --config config.yaml --config more.yaml").out.startswith("completed   max_epochs=1 was reached.")


def test_the_project_may_be_elsewhere(project, say, tmp_path_factory, monkeypatch):
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    said = say(f"fit --config {project}/config.yaml --project {project} --fit.max_epochs 1")
    assert said.code == 0
    assert Path("runs/points/run.json").exists()


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("--config conf.yaml", r"conf.yaml is not there. Did you mean config.yaml\?"),
        ("--config config.yaml --fit.max_epoch 3", r"--fit.max_epoch: .*max_epochs"),
        ("--config config.yaml --model.hiden 3", r"--model.hiden: .*hidden"),
        ("--config config.yaml --fot.max_epochs 3", r"--fot.max_epochs"),
        ("--config config.yaml --model.class_path os.system", r"os.system"),
    ],
)
def test_mistakes_are_told_without_a_traceback(project, say, line, told):
    said = say(f"fit {line}")
    assert said.code == 2
    assert said.out == ""
    assert said.err.startswith("framework: error: ")
    assert re.search(told, said.err), said.err
