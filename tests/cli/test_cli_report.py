"""`framework report`."""

import shutil
import subprocess
import sys
from pathlib import Path


def test_of_one_run_the_page_lies_in_its_folder(trained, say):
    said = say("report runs/points")
    assert (said.code, said.out) == (0, "runs/points/report.html\n")
    assert "val/loss" in Path("runs/points/report.html").read_text()


def test_of_several_runs_it_lies_here(trained, say):
    shutil.copytree("runs/points", "runs/other")
    assert say("report runs/points runs/other").out == "report.html\n"
    assert "other" in Path("report.html").read_text()


def test_it_may_lie_elsewhere(trained, say):
    assert say("report runs/points --output page.html").out == "page.html\n"
    assert Path("page.html").exists()


def test_what_is_no_run_is_told(trained, say):
    Path("runs/notes.txt").write_text("mine")
    said = say("report runs/points runs/notes.txt")
    assert said.code == 2
    assert "runs/notes.txt is no folder" in said.err
    assert not Path("report.html").exists()


def test_a_folder_as_the_page_is_refused(trained, say):
    said = say("report runs/points --output runs")
    assert said.code == 2
    assert "runs cannot be written" in said.err


def test_torch_is_not_needed(trained):
    program = "import sys; from framework.cli.main import main; main(sys.argv[1:]); print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program, "report", "runs/points"], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "runs/points/report.html\nFalse\n"
