"""What the tests of the templates share."""

import sys

import pytest

from framework import main


@pytest.fixture
def new(tmp_path, monkeypatch, capsys):
    """Calls `framework new` in an empty folder and returns its exit code, what it printed, and the complaint."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        code = main(["new", *arguments])
        told = capsys.readouterr()
        return code, told.out, told.err

    return call


@pytest.fixture
def modules_of_one_project(monkeypatch):
    """Forgets the modules of a project afterwards: the next one has other modules of the same names."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for module in ("data", "module"):
        sys.modules.pop(module, None)
