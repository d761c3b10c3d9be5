"""The folder of a run: opened by one process at a time, with what is known of the run in it."""

import errno
import json
import sys
from pathlib import Path

import numpy
import pytest
import torch

import framework.checkpoint.files as files
from framework import CheckpointError, ResumeError
from framework.checkpoint import CheckpointStore
from framework.module.resuming.run_folder import RunFolder, origin_of, start_from

ENDED = {"status": "completed", "reason": "Over.", "iteration": 4, "epoch": 2}


def saved(folder, *steps):
    store = CheckpointStore(Path(folder) / "checkpoints", keep=None)
    store.prepare()
    return [store.save(step, {"model": {"weight": torch.tensor(step)}}) for step in steps]


def write(folder, content):
    Path(folder, "run.json").write_text(content if isinstance(content, str) else json.dumps(content))


def test_it_is_made_with_its_parents(tmp_path):
    path = tmp_path / "runs" / "a"
    with RunFolder(str(path), keep=2) as folder:
        assert folder.path == path
        assert folder.store.folder == path / "checkpoints"
        assert (folder.store.keep, folder.status(), folder.store.newest(), folder.origin) == (2, None, None, None)
    assert sorted(file.name for file in path.iterdir()) == ["checkpoints", "run.lock"]


@pytest.mark.fault(7)
def test_it_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(
            CheckpointError, match=r"Making the folder .* of the run failed: .* See that the folder exists and may be"
        ):
            RunFolder(path, keep=2).__enter__()


@pytest.mark.fault(31)
def test_a_second_run_is_refused_and_the_first_is_left_alone(tmp_path):
    with RunFolder(tmp_path, keep=2) as folder:
        folder.write_status(**ENDED, metrics={})
        with pytest.raises(ResumeError, match="is in use by another run: process "):
            RunFolder(tmp_path / ".." / tmp_path.name, keep=2).__enter__()
        assert folder.status()["status"] == "completed"
        with pytest.raises(ResumeError, match="is in use by another run"):
            RunFolder(tmp_path, keep=2).__enter__()
    with RunFolder(tmp_path, keep=2):
        pass


def test_it_is_given_back_where_it_could_not_be_opened(tmp_path, monkeypatch):
    def refuse(self):
        raise CheckpointError("not today")

    with monkeypatch.context() as patch:
        patch.setattr(CheckpointStore, "prepare", refuse)
        with pytest.raises(CheckpointError, match="not today"):
            RunFolder(tmp_path, keep=2).__enter__()
    with RunFolder(tmp_path, keep=2):
        pass


def test_it_is_given_back_after_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), RunFolder(tmp_path, keep=2) as folder:  # noqa: PT012
        folder.curves.row({"epoch": 1})
        raise ZeroDivisionError
    with RunFolder(tmp_path, keep=2) as folder:
        assert folder.curves.read() == ({}, [{"epoch": 1}])


def test_what_a_killed_process_has_left_is_removed(tmp_path, monkeypatch):
    (tmp_path / ".tmp-run.json-1234567").write_text("half")
    (tmp_path / ".tmp-mine").write_text("kept")
    with RunFolder(tmp_path, keep=2):
        pass
    assert sorted(file.name for file in tmp_path.iterdir()) == [".tmp-mine", "checkpoints", "run.lock"]
    (tmp_path / ".tmp-run.json-1234567").write_text("half")

    def refuse(path):
        raise OSError(errno.EACCES, "Permission denied", str(path))

    folder = RunFolder(tmp_path, keep=2)
    monkeypatch.setattr(folder.store, "prepare", lambda: None)
    monkeypatch.setattr(files, "remove_file", refuse)
    with pytest.raises(CheckpointError, match=r"Removing what a killed process has left in .* failed: .*Permission denied"):
        folder.__enter__()


# How the run stands


def test_the_status_comes_back(tmp_path):
    metrics = {
        "train/loss": 0.5,
        "odd": float("nan"),
        "low": float("-inf"),
        "each": torch.tensor([1.0, float("nan"), float("inf")]),
        "small": numpy.float32(0.25),
        "parts": {"a": [torch.tensor(2)]},
        "count": 3,
        "word": "good",
        "path": Path("x"),
    }
    folder = RunFolder(tmp_path, keep=2)
    folder.origin = "/runs/first"
    folder.write_status(**ENDED, metrics=metrics)
    text = (tmp_path / "run.json").read_text()
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    status = folder.status()
    found = status.pop("metrics")
    assert status == {"format": 1, "command": sys.argv, "origin": "/runs/first", **ENDED}
    assert repr(found.pop("odd")) == "nan"
    assert repr(found.pop("each")) == "[1.0, nan, inf]"
    assert found == {
        "train/loss": 0.5,
        "low": float("-inf"),
        "small": 0.25,
        "parts": {"a": [2]},
        "count": 3,
        "word": "good",
        "path": repr(Path("x")),
    }


def test_a_later_status_replaces_the_first(tmp_path):
    folder = RunFolder(tmp_path, keep=2)
    folder.write_status(**ENDED, metrics={})
    folder.write_status(**{**ENDED, "status": "stopped"}, metrics={})
    assert folder.status()["status"] == "stopped"
    assert [file.name for file in tmp_path.iterdir()] == ["run.json"]


@pytest.mark.fault(6)
def test_a_status_that_cannot_be_written(tmp_path, monkeypatch):
    folder = RunFolder(tmp_path, keep=2)
    folder.write_status(**ENDED, metrics={})

    def full(path, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "write_json", full)
    with pytest.raises(CheckpointError, match=r"Writing .*run.json failed: the disk is full"):
        folder.write_status(**{**ENDED, "status": "stopped"}, metrics={})
    assert folder.status()["status"] == "completed"


@pytest.mark.fault(5)
@pytest.mark.parametrize("content", ["", "{", "\0" * 50, "nonsense"])
def test_a_status_that_is_no_json(tmp_path, content):
    write(tmp_path, content)
    with pytest.raises(ResumeError, match=r"run.json cannot be read: .* Remove it to go on from the newest checkpoint"):
        RunFolder(tmp_path, keep=2).status()


def test_a_status_that_cannot_be_opened(tmp_path):
    (tmp_path / "run.json").mkdir()
    with pytest.raises(ResumeError, match=r"run.json cannot be read: .*Is a directory"):
        RunFolder(tmp_path, keep=2).status()


@pytest.mark.fault(36)
@pytest.mark.parametrize(
    ("content", "found"),
    [({"format": 2}, "2"), ({"format": "1"}, "'1'"), ({}, "None"), ([], "None"), ("null", "None"), ("3", "None")],
)
def test_a_status_of_another_format(tmp_path, content, found):
    write(tmp_path, content)
    with pytest.raises(ResumeError, match=f"run.json has format {found}; this version reads 1"):
        RunFolder(tmp_path, keep=2).status()


GOOD = {"format": 1, "origin": None, **ENDED, "metrics": {}}


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"status": None}, "status is None"),
        ({"reason": 3}, "reason is 3"),
        ({"iteration": "4"}, "iteration is '4'"),
        ({"epoch": True}, "epoch is True"),
        ({"origin": ["x"]}, r"origin is \['x'\]"),
        ({"metrics": [1]}, r"metrics is \[1\]"),
    ],
)
def test_a_status_that_somebody_else_has_written(tmp_path, change, found):
    write(tmp_path, GOOD)
    assert RunFolder(tmp_path, keep=2).status() == GOOD
    write(tmp_path, {**GOOD, **change})
    with pytest.raises(ResumeError, match=f"run.json is damaged: {found}. Remove it to go on from the newest checkpoint"):
        RunFolder(tmp_path, keep=2).status()
    write(tmp_path, {name: value for name, value in GOOD.items() if name != "reason"})
    with pytest.raises(ResumeError, match="reason is None"):
        RunFolder(tmp_path, keep=2).status()


# Saving


@pytest.mark.parametrize("in_background", [False, True])
def test_checkpoints_are_written(tmp_path, in_background):
    with RunFolder(tmp_path, keep=1, in_background=in_background) as folder:
        weight = torch.zeros(2)
        for step in (1, 2):
            folder.save(step, {"model": {"weight": weight}}, best=step == 1, facts={"epoch": step})
            weight += 1
        folder.wait()
        assert torch.equal(folder.store.newest().read("model")["weight"], torch.ones(2))
        assert folder.store.newest().facts == {"epoch": 2}
        assert folder.store.best().name == "step-00000001"
        folder.save(3, {"model": {"weight": weight}}, best=False, facts={})
    assert folder.store.last().name == "step-00000003"


@pytest.mark.fault(30)
def test_a_save_in_the_background_that_fails_is_heard_of(tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    def refused():
        return pytest.raises(CheckpointError, match=r"Saving step \d as .* failed: the disk is full")

    folder = RunFolder(tmp_path, keep=1, in_background=True)
    with refused(), folder:
        monkeypatch.setattr(files, "make_folder", full)
        folder.save(1, {}, best=False, facts={})
        with refused():
            folder.wait()
        folder.save(2, {}, best=False, facts={})  # heard of when the folder is closed


@pytest.mark.fault(29, 30)
def test_a_lost_save_is_a_note_of_the_error_that_ended_the_run(tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(ZeroDivisionError) as caught, RunFolder(tmp_path, keep=1, in_background=True) as folder:  # noqa: PT012
        monkeypatch.setattr(files, "make_folder", full)
        folder.save(1, {}, best=False, facts={})
        raise ZeroDivisionError
    assert "Saving step 1" in caught.value.__notes__[0]


# Starting from elsewhere


@pytest.fixture
def source(tmp_path):
    """A run elsewhere, with curves."""
    saved(tmp_path / "source", 1, 2)
    write(tmp_path / "source", GOOD)
    (tmp_path / "source" / "metrics.jsonl").write_text("curves")
    return tmp_path / "source"


def test_a_run_starts_from_the_newest_of_another(tmp_path, source):
    before = {path: path.is_file() and path.read_bytes() for path in source.rglob("*")}
    with RunFolder(tmp_path / "new", keep=2) as folder:
        assert start_from(folder, source).step == 2
        assert folder.origin == origin_of(source) == str(source.resolve())
    assert (tmp_path / "new" / "metrics.jsonl").read_text() == "curves"
    assert {path: path.is_file() and path.read_bytes() for path in source.rglob("*")} == before


def test_a_run_starts_from_one_checkpoint_of_another(tmp_path, source):
    with RunFolder(tmp_path / "new", keep=2) as folder:
        assert start_from(folder, str(source / "checkpoints" / "step-00000001")).step == 1
    assert (tmp_path / "new" / "metrics.jsonl").read_text() == "curves"


def test_a_checkpoint_that_is_in_no_run_has_no_curves(tmp_path):
    path = saved(tmp_path / "loose", 1)[0]
    with RunFolder(tmp_path / "new", keep=2) as folder:
        assert start_from(folder, path).step == 1
    assert not (tmp_path / "new" / "metrics.jsonl").exists()


def test_a_folder_that_has_checkpoints_is_not_mixed_with_another(tmp_path, source):
    saved(tmp_path / "taken", 2)
    words = (
        r"resume='.*source': .*taken holds a run already, which stays as it is. Give a new run_dir to start from step-00000002, or "
    )
    with RunFolder(tmp_path / "taken", keep=2) as folder, pytest.raises(ResumeError, match=words):
        start_from(folder, source)
    assert not (tmp_path / "taken" / "metrics.jsonl").exists()


def test_its_own_newest_is_no_other_run(source):
    with RunFolder(source, keep=2) as folder:
        for own in (source, source / "checkpoints" / "step-00000002", source / ".." / "source"):
            assert start_from(folder, own).step == 2
            assert folder.origin is None
        with pytest.raises(ResumeError, match="holds a run already"):
            start_from(folder, source / "checkpoints" / "step-00000001")


def test_a_run_that_was_killed_before_its_first_checkpoint_starts_again(tmp_path, source):
    for _ in range(2):
        with RunFolder(tmp_path / "new", keep=2) as folder:
            assert start_from(folder, source).step == 2
            folder.write_status(**{**ENDED, "status": "running"}, metrics={})


def test_nothing_to_start_from(tmp_path):
    with RunFolder(tmp_path, keep=2) as folder, pytest.raises(CheckpointError, match="is neither a run, nor a checkpoint"):
        start_from(folder, tmp_path / "missing")


@pytest.mark.fault(6)
def test_curves_that_cannot_be_copied(tmp_path, source, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("shutil.copyfile", full)
    words = "Copying the curves of .*source to .*new failed: the disk is full"
    with RunFolder(tmp_path / "new", keep=2) as folder, pytest.raises(CheckpointError, match=words):
        start_from(folder, source)
