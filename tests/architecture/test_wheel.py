"""What the wheel holds."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """Builds the wheel from a copy, in which work has left its traces, and returns the names of its files."""
    folder = tmp_path_factory.mktemp("wheel")
    project = folder / "project"
    for each in ("framework", "templates"):
        shutil.copytree(ROOT / each, project / each, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, project)
    for trace in ("__pycache__/module.cpython-311.pyc", "runs/blank/metrics.jsonl", ".pytest_cache/README.md", ".DS_Store"):
        path = project / "templates" / "blank" / trace
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("left behind")
    subprocess.run([sys.executable, "-c", BUILD, folder], cwd=project, check=True, capture_output=True)
    return set(zipfile.ZipFile(next(folder.glob("*.whl"))).namelist())


def test_every_template_travels_inside(names):
    inside = {name.removeprefix("framework/templates/") for name in names if name.startswith("framework/templates/")}
    files = {path.relative_to(ROOT / "templates") for path in (ROOT / "templates").glob("*/*") if path.is_file()}
    assert inside == {path.as_posix() for path in files}
    assert len({name.partition("/")[0] for name in inside}) == 5


def test_so_do_the_whole_package_and_the_typing_marker(names):
    assert {f"framework/{path.relative_to(ROOT / 'framework')}" for path in (ROOT / "framework").rglob("*.py")} <= names
    assert {"framework/py.typed", *(f"framework/report/page.{kind}" for kind in ("css", "html", "js"))} <= names


def test_nothing_else_does(names):
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {"framework"}
    assert [name for name in names if "__pycache__" in name or name.endswith(".pyc")] == []
