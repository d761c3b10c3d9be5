"""What the wheel holds."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"


def test_templates_and_the_typing_marker_travel_inside(tmp_path):
    project = tmp_path / "project"  # a copy, so that nothing is built beside the sources
    for folder in ("framework", "templates"):
        shutil.copytree(ROOT / folder, project / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, project)
    subprocess.run([sys.executable, "-c", BUILD, tmp_path], cwd=project, check=True, capture_output=True)
    names = set(zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist())
    template = {f"framework/templates/blank/{path.name}" for path in (project / "templates" / "blank").iterdir()}
    assert {"framework/py.typed", "framework/engine/loop.py", *template} <= names
    assert not any(name.startswith(("tests/", "templates/")) for name in names)


def test_the_template_trains_and_passes_its_own_test(tmp_path):
    shutil.copytree(ROOT / "templates" / "blank", tmp_path / "blank", ignore=shutil.ignore_patterns("__pycache__"))
    for command in (["train.py", "--epochs", "2", "--accelerator", "cpu"], ["-m", "pytest", "-q", "-p", "no:cacheprovider"]):
        run = subprocess.run([sys.executable, *command], cwd=tmp_path / "blank", capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stdout + run.stderr
