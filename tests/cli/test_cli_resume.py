"""`framework resume`: a run goes on from its own configuration, to the same bits."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from signal import SIGKILL

import pytest

from framework.report.reading import read_run


def framework(*arguments, **environment):
    """Runs the command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "framework", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )


def bits(run):
    """All that a run has come to, but the times."""
    checkpoint = read_run(run).last_checkpoint.path
    tensors = {file.name: file.read_bytes() for file in checkpoint.glob("*.safetensors") if file.name != "run.safetensors"}
    lines = [json.loads(line) for line in Path(run, "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        line.pop("time_s", None)
        line["values"].pop("time_s", None)
    return checkpoint.name, tensors, lines


@pytest.mark.fault(1)
def test_a_killed_run_goes_on_to_the_bits_of_one_that_was_not(project, once_trained, say):
    killed = framework("fit", "--config", "config.yaml", SIGNAL_AT="SIGKILL 8")
    assert killed.returncode == -SIGKILL, killed.stderr
    assert read_run("runs/points").status == "running"
    assert say("resume runs/points").out.startswith("completed   max_epochs=3 was reached.")
    assert bits("runs/points") == bits(once_trained / "runs/points")
    assert [entry["goes_on_from"] for entry in read_run("runs/points").environment] == [None, 5]


@pytest.mark.slow
@pytest.mark.fault(1)
def test_a_run_killed_again_and_again_goes_on_in_new_processes(project, once_trained):
    every_other = ("--fit.save_every", "{event: iteration_completed, every: 2}")
    codes = [framework("fit", "--config", "config.yaml", *every_other, SIGNAL_AT="SIGKILL 4").returncode]
    codes += [framework("resume", "runs/points", SIGNAL_AT=f"SIGKILL {at}").returncode for at in (7, 11)]
    assert codes == [-SIGKILL] * 3
    went_on = framework("resume", "runs/points")
    assert went_on.returncode == 0, went_on.stderr
    assert bits("runs/points") == bits(once_trained / "runs/points")
    assert [entry["goes_on_from"] for entry in read_run("runs/points").environment] == [None, 2, 6, 10]


def test_a_run_that_is_over_says_so_and_how_to_prolong_it(trained, say):
    before = Path("runs/points/run.json").stat().st_mtime_ns
    said = say("resume runs/points")
    assert said.code == 0
    assert said.out == (
        "The run in runs/points is over: max_epochs=3 was reached. Nothing was trained.\n"
        "To train it further, raise its limit: framework resume runs/points --fit.max_epochs 6\n"
    )
    assert Path("runs/points/run.json").stat().st_mtime_ns == before


def test_what_it_says_prolongs_the_run(trained, say):
    line = say("resume runs/points").out.splitlines()[1].split(": framework ")[1]
    said = say(line)
    assert said.out.startswith("completed   max_epochs=6 was reached.")
    assert "max_epochs: 6\n" in Path("runs/points/config.yaml").read_text()
    assert say("resume runs/points").out.endswith(" --fit.max_epochs 12\n")


def test_a_run_with_another_limit_is_prolonged_by_that(project, say):
    Path("config.yaml").write_text(Path("config.yaml").read_text().replace("max_epochs: 3", "max_iters: 4"))
    say("fit --config config.yaml")
    assert say("resume runs/points").out.endswith(" --fit.max_iters 8\n")


def test_a_run_that_was_moved_goes_on_where_it_is(trained, say):
    shutil.move("runs/points", "moved")
    said = say("resume moved --fit.max_epochs 4")
    assert said.out.splitlines()[-1] == "next        framework evaluate moved"
    assert not Path("runs/points").exists()


@pytest.mark.parametrize("setting", ["--fit.run_dir other", "--fit.resume never"])
def test_its_own_settings_are_refused(trained, say, setting):
    said = say(f"resume runs/points {setting}")
    assert said.code == 2
    assert f"{setting.split()[0]}: resume goes on with the run in runs/points, in its own folder. To start from it" in said.err


def test_what_it_says_instead_starts_a_run_from_this_one(trained, say):
    told = say("resume runs/points --fit.run_dir other").err
    line = told.split(": framework ")[1].replace("FOLDER", "other").strip()
    assert say(f"{line} --fit.max_epochs 4").code == 0
    assert read_run("other").status == "completed"
    assert read_run("runs/points").metrics != read_run("other").metrics


def test_a_run_of_a_script_is_refused_with_the_command_to_call_again(trained, say):
    Path("runs/points/config.yaml").write_text("model:\n  class_path: __main__.Points\n")
    environment = [{"command": ["train.py", "--epochs", "3"], "folder": str(Path.cwd())}]
    Path("runs/points/environment.json").write_text(json.dumps(environment))
    said = say("resume runs/points")
    assert said.code == 2
    assert said.err.endswith("Call python train.py --epochs 3, which goes on with it.\n")


def test_where_there_is_no_run_it_says_so(project, say):
    said = say("resume runs/points")
    assert said.code == 2
    assert "runs/points is no folder" in said.err
