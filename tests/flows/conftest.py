"""A run to compare with, and a disk that nobody waits for."""

import faulty_runs
import pytest

import framework.checkpoint.files as files


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A small run that nothing has disturbed: its end, and its folder."""
    run_dir = tmp_path_factory.mktemp("whole") / "run"
    return faulty_runs.fit(run_dir), run_dir


@pytest.fixture
def quick_disk(monkeypatch):
    """Waits for no disk: nobody cuts the power in these tests."""
    monkeypatch.setattr(files.os, "fsync", lambda descriptor: None)
