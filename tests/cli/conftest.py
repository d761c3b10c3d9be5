"""A little project to call commands in."""

import shutil
import sys
from contextlib import contextmanager
from typing import NamedTuple

import little_project
import pytest

from framework import main


class Said(NamedTuple):
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str


@contextmanager
def only_here():
    """Lets the modules of the project go afterwards: the next project has others of the same names."""
    before = list(sys.path)
    try:
        yield
    finally:
        sys.path[:] = before
        for name in ("module", "data"):
            sys.modules.pop(name, None)


@pytest.fixture(scope="session")
def once_trained(tmp_path_factory):
    """The folder of a project with a run, to be copied."""
    folder = tmp_path_factory.mktemp("trained")
    little_project.write(folder)
    with only_here(), pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["fit", "--config", "config.yaml"]) == 0
    return folder


@pytest.fixture
def modules_only_here():
    """Lets the modules of a project that the test makes go with it."""
    with only_here():
        yield


@pytest.fixture
def project(tmp_path, monkeypatch, modules_only_here):
    """A project that has no run yet, as the current folder."""
    little_project.write(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def trained(project, once_trained):
    """A project with a run in runs/points, as the current folder."""
    shutil.copytree(once_trained / "runs", project / "runs")
    return project


@pytest.fixture
def say(capsys):
    """Calls a command, in this process, and returns what it said."""

    def call(line):
        capsys.readouterr()
        code = main(line.split())
        return Said(code, *capsys.readouterr())

    return call
