"""From the wheel, in a fresh environment: every command of every template's README, as it stands there."""

import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from threading import Lock

import pytest

ROOT = Path(__file__).parents[2]
CONSTRAINTS = ROOT / ".ci" / "constraints.txt"
REACHED = {  # by the best weights, on data that they have not seen: between which bounds
    "blank": ("test/accuracy", 0.9, 1.0),
    "generative": ("test/distance", 0.0, 0.15),
    "tabular": ("test/accuracy", 0.93, 1.0),
    "text": ("test/loss", 1.0, 2.1),
    "vision": ("test/accuracy", 0.96, 1.0),
}

pytestmark = pytest.mark.installs


@pytest.fixture(scope="module")
def shell(tmp_path_factory):
    """Installs the wheel in an environment of its own; returns what runs a line of a shell in it."""
    folder = tmp_path_factory.mktemp("installed")
    sources = folder / "sources"  # a copy, so that nothing is built beside the sources
    for each in ("framework", "templates"):
        shutil.copytree(ROOT / each, sources / each, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, sources)
    path = f"{folder / 'venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment = {**own, "PATH": path, "PIP_CONSTRAINT": str(CONSTRAINTS), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error"}
    asking = {name: value for name, value in environment.items() if name != "PYTHONWARNINGS"}  # pip's warnings are not ours

    one_pip = Lock()  # at a time in the environment

    def run(line, cwd):
        pip = line.startswith("pip ")
        with one_pip if pip else nullcontext():
            done = subprocess.run(
                line, cwd=cwd, env=asking if pip else environment, shell=True, capture_output=True, text=True, check=False
            )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    run(f"pip install -q --no-compile '{sources}'", folder)
    shutil.rmtree(sources)
    return run


def run_the_readme(template, shell, folder):
    """Makes a project, runs the commands of its README, and returns what each of them has printed, by its first two words."""
    shell(f"framework new my-{template} --template {template}", folder)
    project = folder / f"my-{template}"
    (block,) = re.findall(r"```bash\n(.*?)```", (project / "README.md").read_text(), flags=re.DOTALL)
    return {" ".join(line.split()[:2]): shell(line, project) for line in block.splitlines()}


def test_every_command_of_every_readme_works(shell, tmp_path):
    with ThreadPoolExecutor(2) as pool:  # most of the time is that of one core
        told = dict(zip(REACHED, pool.map(lambda template: run_the_readme(template, shell, tmp_path), REACHED), strict=True))
    for template, (name, least, most) in REACHED.items():
        (value,) = re.findall(rf"^{name} +(\S+)$", told[template]["framework evaluate"], flags=re.MULTILINE)
        assert least <= float(value) <= most, template
        assert re.search(r"\d passed", told[template]["pytest"]), template
        assert "<html" in (tmp_path / f"my-{template}" / "runs" / f"my-{template}" / "report.html").read_text()
