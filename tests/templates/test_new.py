"""`framework new`: what it makes, and what it refuses."""

import subprocess
import sys
from pathlib import Path

import pytest

FILES = ["README.md", "config.yaml", "data.py", "module.py", "pyproject.toml", "test_project.py", "train.py"]
ALL = "The templates are blank, generative, tabular, text, vision."


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_it_makes_a_project_and_prints_the_next_two_commands(new, tmp_path):
    code, told, _ = new("digits", "--template", "vision")
    assert code == 0
    assert names_in(tmp_path) == ["digits"]
    assert names_in(tmp_path / "digits") == FILES
    assert told.startswith("digits is a project now, from the template vision: README.md, config.yaml, ")
    assert told.endswith("Next:\n\n  cd digits\n  framework fit --config config.yaml\n")


def test_without_a_template_it_is_the_blank_one(new, tmp_path):
    assert "from the template blank" in new("first")[1]
    assert "class Model(TrainModule)" in (tmp_path / "first" / "module.py").read_text()


def test_the_name_stands_where_the_template_has_its_placeholder(new, tmp_path):
    new("Digits_2.0", "--template", "tabular")
    project = tmp_path / "Digits_2.0"
    assert 'name = "Digits_2.0"' in (project / "pyproject.toml").read_text()
    assert "run_dir: runs/Digits_2.0 #" in (project / "config.yaml").read_text()
    assert (project / "README.md").read_text().startswith("# Digits_2.0\n")
    assert not any("my-project" in path.read_text() for path in project.iterdir())


def test_what_else_lies_in_the_folder_of_a_template_stays_there(new, tmp_path, monkeypatch):
    template = tmp_path / "framework" / "templates" / "one"
    (template / "__pycache__").mkdir(parents=True)
    (template / "__pycache__" / "module.pyc").write_bytes(b"\xff")
    for name in ("pyproject.toml", ".DS_Store"):
        (template / name).write_text("my-project")
    monkeypatch.setattr("framework.cli.new.__file__", str(tmp_path / "framework" / "cli" / "new.py"))
    assert new("first", "--template", "one")[0] == 0
    assert names_in(tmp_path / "first") == ["pyproject.toml"]


def test_it_lists_the_templates_with_a_line_each(new, tmp_path):
    _, told, _ = new("--list")
    assert [line.split()[0] for line in told.splitlines()] == ["blank", "generative", "tabular", "text", "vision"]
    assert "vision      A small CNN that reads handwritten digits" in told
    assert names_in(tmp_path) == []


def test_a_folder_may_be_given_before_the_name(new, tmp_path):
    (tmp_path / "work").mkdir()
    _, told, _ = new("work/first")
    assert "  cd work/first\n" in told
    new(str(tmp_path / "work" / "second"))
    for name in ("first", "second"):
        assert f'name = "{name}"' in (tmp_path / "work" / name / "pyproject.toml").read_text()


def test_an_empty_folder_is_filled(new, tmp_path):
    (tmp_path / "first").mkdir()
    assert new("first")[0] == 0
    assert names_in(tmp_path / "first") == FILES


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("../first", "../first lies outside the current folder, "),
        ("work/../first", "work/../first lies outside the current folder, "),
        ("/first", "/first lies outside the current folder, "),
        (".", "'.' names no project: its name has up to 100 letters and digits, and between them also - _ and . For example: "),
        ("", "'' names no project"),
        ("my project", "'my project' names no project"),
        ("first\n", "'first\\n' names no project"),
        ("_first", "'_first' names no project"),
        ("${HOME}", "'${HOME}' names no project"),
        ("x" * 101, "names no project"),
        ("nowhere/first", "nowhere, where the project should be, is no folder. Make it first."),
        (
            "torch",
            "torch is the name of an installed package, which pip would replace by the project. Give another name, or ",
        ),
        ("full", "full is there already, and nothing is overwritten. Give another name, or move it away."),
        ("file", "file is there already, and nothing is overwritten."),
        ("link", "link is a symbolic link. Give a path without one, so that it is clear where the project will be."),
        ("dangling", "dangling is a symbolic link."),
        ("link/first", "link is a symbolic link."),
    ],
)
def test_a_name_or_place_that_will_not_do_is_refused(new, tmp_path, name, complaint):
    (tmp_path / "work").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to("work")
    (tmp_path / "dangling").symlink_to("nothing")
    before = sorted(tmp_path.rglob("*"))
    code, told, complained = new(name)
    assert (code, told) == (2, "")
    assert complained.startswith("framework: error: ")
    assert complaint in complained
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "file").read_text() == "mine"


def test_a_link_in_the_path_is_refused_also_where_it_is_absolute(new, tmp_path):
    (tmp_path / "work").mkdir()
    (tmp_path / "link").symlink_to("work")
    assert "link is a symbolic link." in new(str(tmp_path / "link" / "first"))[2]


def test_the_nearest_template_is_named(new, tmp_path):
    code, _, complained = new("first", "--template", "vison")
    assert code == 2
    assert f"--template vison: there is no such template. {ALL} Did you mean vision?\n" in complained
    assert f"--template ../text: there is no such template. {ALL}" in new("first", "--template", "../text")[2]
    assert names_in(tmp_path) == []


def test_the_name_is_asked_for(new):
    assert "new needs the name of the project, such as: framework new digits --template vision" in new()[2]


def test_a_failure_leaves_nothing_behind(new, tmp_path, monkeypatch):
    def full(path, text, **settings):
        path.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    code, _, complained = new("first")
    assert code == 2
    assert "first cannot be made: No space left on device. Nothing was left behind. Choose another place." in complained
    assert names_in(tmp_path) == []


def test_what_another_process_has_put_there_in_the_meantime_stays(new, tmp_path, monkeypatch):
    rename = Path.rename

    def late(path, target):
        target.mkdir()
        (target / "notes").touch()
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", late)
    assert "first cannot be made: Directory not empty." in new("first")[2]
    assert [path.name for path in tmp_path.rglob("*")] == ["first", "notes"]


def test_it_wakes_neither_torch_nor_the_project(tmp_path):
    code = (
        "import sys\nfrom framework import main\nassert main(['new', 'first', '--template', 'text']) == 0\n"
        "print(sorted({'torch', 'yaml', 'jsonargparse', 'module', 'data'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "[]"
