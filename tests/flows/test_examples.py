"""Each example runs as its first line says, and checks its own result."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))


@pytest.mark.parametrize("accelerator", ["cpu", "amp"])
def test_digits_reaches_97_percent_with_either_accelerator(accelerator):
    script = next(path for path in EXAMPLES if path.name == "digits.py")
    run = subprocess.run(
        [sys.executable, "-W", "error", script, "--accelerator", accelerator], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()
    assert lines[0].startswith("epoch 1/8  23 iterations  train/loss ")
    assert "accuracy on held-out digits: 9" in lines[-1]


def test_an_accelerator_that_is_not_there_is_refused_with_the_reason():
    script = next(path for path in EXAMPLES if path.name == "digits.py")
    run = subprocess.run([sys.executable, script, "--accelerator", "apex"], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "accelerator='apex' needs NVIDIA Apex, which is not installed." in run.stderr
    assert "'cpu': available" in run.stderr


@pytest.mark.parametrize(
    ("name", "last"),
    [("gan_digits.py", "share of each digit: 0: "), ("diffusion_digits.py", "it finds the digit asked for in ")],
)
def test_an_example_passes_its_own_check(name, last):
    script = next(path for path in EXAMPLES if path.name == name)
    run = subprocess.run(
        [sys.executable, "-W", "error", script, "--accelerator", "cpu"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert run.returncode == 0, run.stderr
    assert last in run.stdout


@pytest.mark.parametrize("script", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_short_enough_to_read(script):
    assert len(script.read_text().splitlines()) <= 150
