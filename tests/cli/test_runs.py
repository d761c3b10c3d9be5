"""What a command makes of the folder of a run."""

import json
import shutil
from argparse import Namespace
from pathlib import Path

import pytest

from framework import ConfigError
from framework.cli.runs import configuration_of, place_of, refuse_without_configuration, script_of, weights_of
from framework.report.reading import read_run

HERE = Namespace(project=".", trust=[])


def test_the_configuration_of_a_run_with_settings_over_it(trained):
    configuration = configuration_of(read_run("runs/points"), HERE, ["--fit.max_epochs=9"])
    assert (configuration.fit["max_epochs"], configuration.fit["run_dir"]) == (9, "runs/points")


@pytest.mark.parametrize("gone", [False, True])
def test_without_its_project_it_says_where_the_run_was_made(trained, tmp_path_factory, gone):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    Path("module.py").unlink()
    here = Path("runs/points").resolve()
    noted = json.loads((here / "environment.json").read_text())
    noted[-1]["folder"] = str(elsewhere)
    (here / "environment.json").write_text(json.dumps(noted))
    told = f"The run was made in {elsewhere}: call the command there, or give --project {elsewhere}."
    if gone:
        elsewhere.rmdir()
        told = f"The run was made in {elsewhere}, which is gone. Give its project: --project FOLDER."
    with pytest.raises(ConfigError, match=rf"module\.Points(.|\n)*{told}"):
        configuration_of(read_run(here), HERE, [])


def test_in_its_project_it_says_nothing_of_that(trained):
    Path("module.py").unlink()
    noted = json.loads(Path("runs/points/environment.json").read_text())
    noted[-1]["folder"] = str(Path.cwd())
    Path("runs/points/environment.json").write_text(json.dumps(noted))
    with pytest.raises(ConfigError) as refused:
        configuration_of(read_run("runs/points"), HERE, [])
    assert "The run was made in" not in str(refused.value)


def test_a_run_without_a_configuration_is_refused(trained):
    Path("runs/points/config.yaml").unlink()
    with pytest.raises(ConfigError, match=r"config.yaml is missing, which says what the run was made from. Put it back, or call X"):
        refuse_without_configuration(read_run("runs/points"), instead="X")


def test_a_run_of_a_script_is_refused_with_what_to_call(trained):
    file = Path("runs/points/config.yaml")
    file.write_text(file.read_text().replace("data:", "other:"))
    with pytest.raises(ConfigError, match=r"runs/points was made by a script, not from a configuration: .* come from. Call X\."):
        refuse_without_configuration(read_run("runs/points"), instead="X")


def noted(run, **facts):
    file = Path(run, "environment.json")
    file.write_text(json.dumps([facts] if facts else []))
    return read_run(run)


def test_how_to_call_a_script_again(trained):
    here = {"command": ["train.py", "--name", "a b"], "folder": str(Path.cwd())}
    assert script_of(noted("runs/points", **here)) == "python train.py --name 'a b'"
    assert script_of(noted("runs/points", **here | {"folder": "/my work"})) == "cd '/my work' && python train.py --name 'a b'"
    assert script_of(noted("runs/points")) == "the script again"


def test_the_weights_that_are_meant(trained):
    record = read_run("runs/points")
    last = record.last_checkpoint.path
    assert weights_of(record, "last") == (last, f"{last.name} (last)")
    best = record.best_checkpoint.path
    assert weights_of(record, "best") == (best, f"{best.name} (best)")
    assert weights_of(record, str(last)) == (last, str(last))
    assert weights_of(record, last.name) == (last, last.name)


def test_where_nothing_was_monitored_the_newest_is_the_best(project, say):
    say("fit --config config.yaml --fit.monitor null --fit.max_epochs 1")
    record = read_run("runs/points")
    assert weights_of(record, "best") == (record.last_checkpoint.path, "step-00000005 (last, as none is the best)")


def test_weights_that_are_not_there_are_refused(trained):
    with pytest.raises(
        ConfigError, match=r"^--weights bst: there is no such file or folder. It is best, last, a checkpoint of the run, or a path"
    ):
        weights_of(read_run("runs/points"), "bst")


def test_a_run_that_was_moved_is_found_where_it_is(trained, say):
    shutil.move("runs/points", "moved")
    assert say("evaluate moved").code == 0


@pytest.mark.parametrize(
    ("accelerator", "precision", "place"),
    [
        (None, None, ("cpu", "bf16")),
        (None, "fp32", ("cpu", "fp32")),
        ("amp", None, ("amp", None)),
        ("amp", "fp16", ("amp", "fp16")),
    ],
)
def test_it_runs_as_in_training_unless_told_otherwise(trained, accelerator, precision, place):
    configuration = configuration_of(read_run("runs/points"), HERE, ["--fit.precision=bf16"])
    asked = place_of(configuration, Namespace(accelerator=accelerator, precision=precision))
    assert (asked["accelerator"], asked["precision"]) == place
