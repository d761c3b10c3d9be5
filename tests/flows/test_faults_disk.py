"""Runs whose disk, folder or curves cannot be written, and two runs that want the same folder."""

import os
import shutil
import warnings
from pathlib import Path
from threading import Event

import pytest
import torch
from faulty_runs import (
    Does,
    Net,
    assert_ends_as,
    assert_same_end,
    checkpoints,
    difference,
    fit,
    go_on,
    in_child,
    lines,
    status,
    stop,
)

import framework.checkpoint.files as files
from framework import CheckpointError, Events, ResumeError, SettingError, seed_all
from framework.checkpoint import CheckpointStore
from framework.checkpoint.folder import open_checkpoint
from framework.seeding import random_state, set_random_state

pytestmark = pytest.mark.usefixtures("quick_disk")


# Row 6


class Wide(Net):
    def __init__(self):
        super().__init__(hidden=1000)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.001, momentum=0.9)


def wide(begin, run_dir, *handlers, reseed=5, **changes):
    seed_all(reseed)
    return begin(run_dir, *handlers, module=Wide(), reseed=reseed, **changes)


@pytest.mark.fault(6)
def test_the_disk_is_full(tmp_path):
    resource = pytest.importorskip("resource")

    def fill(engine):
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))

    code, said = in_child(lambda: wide(fit, tmp_path, Does(4, do=fill)))
    assert code == 1
    assert said.startswith(
        f"CheckpointError: Saving step 6 as {tmp_path}/checkpoints/step-00000006 failed: the disk is full, or a quota or limit of "
        "file sizes is reached ("
    )
    assert "Earlier checkpoints are untouched. Make room, or save to another disk." in said
    assert (status(tmp_path), checkpoints(tmp_path)) == ("running", ["step-00000003", "step-00000000", "last.json"])
    assert open_checkpoint(tmp_path / "checkpoints" / "step-00000003").step == 3
    assert_same_end(wide(go_on, tmp_path, reseed=7), wide(fit, None))


# Row 7


@pytest.mark.fault(7)
@pytest.mark.parametrize("where", ["the folder", "its parent", "its checkpoints"])
def test_the_folder_cannot_be_written_when_the_run_starts(tmp_path, whole, where):  # whole: another user may import nothing more
    shared = Path("/tmp") if os.geteuid() == 0 else tmp_path  # another user cannot even look into tmp_path
    top = shared / f"not-writable-{os.getpid()}"
    run_dir = {"the folder": top, "its parent": top / "run", "its checkpoints": top}[where]
    closed = top / "checkpoints" if where == "its checkpoints" else top
    closed.mkdir(parents=True)
    if where == "its checkpoints":
        top.chmod(0o777)
    closed.chmod(0o555)

    def train():
        if os.geteuid() == 0:
            os.seteuid(65534)
        fit(run_dir, Does(1, do=lambda engine: os._exit(9)))

    try:
        code, said = in_child(train)
        assert list(closed.iterdir()) == []
    finally:
        closed.chmod(0o755)
        shutil.rmtree(top)
    assert code == 1
    assert said.startswith("CheckpointError: ")
    assert str(top) in said
    assert "Permission denied" in said


@pytest.mark.fault(7)
def test_a_file_lies_where_the_folder_should(tmp_path):
    (tmp_path / "run").write_text("notes")
    with pytest.raises(SettingError, match=r"run_dir=.*/run' is a file; it should be a folder"):
        fit(tmp_path / "run")
    assert (tmp_path / "run").read_text() == "notes"


@pytest.mark.fault(7)
@pytest.mark.parametrize("in_background", [False, True])
@pytest.mark.parametrize("what", [".", "checkpoints"])
def test_the_folder_is_removed_in_the_run(tmp_path, monkeypatch, what, in_background):
    first_save_is_over = Event()
    write = CheckpointStore.write

    def told(store, save, group=None):
        path = write(store, save, group)
        first_save_is_over.set()
        return path

    def remove(engine):
        assert first_save_is_over.wait(60)
        shutil.rmtree(tmp_path / "run" / what)

    monkeypatch.setattr(CheckpointStore, "write", told)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r".*metrics\.jsonl cannot be written: .*The run goes on without it", UserWarning)
        with pytest.raises(CheckpointError, match=r"Saving step 3 as .*/step-00000003 failed: .*See that the folder e"):
            fit(tmp_path / "run", Does(2, do=remove), async_save=in_background)
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.fault(7)
def test_the_folder_is_removed_while_a_background_save_is_under_way(tmp_path, monkeypatch):
    removed = Event()
    write = CheckpointStore.write

    def late(store, save):
        assert removed.wait(60)
        return write(store, save)

    def remove(engine):
        shutil.rmtree(tmp_path / "checkpoints")
        removed.set()

    monkeypatch.setattr(CheckpointStore, "write", late)
    with pytest.raises(CheckpointError, match=r"Saving step 0 as .*/step-00000000 failed: .*See that the folder e"):
        fit(tmp_path, Does(2, do=remove), async_save=True)
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.fault(7)
@pytest.mark.parametrize("what", [".", "checkpoints"])
def test_the_folder_is_removed_after_the_last_save(tmp_path, what):
    class Removes:
        def on_completed(self):
            shutil.rmtree(tmp_path / "run" / what)

    with pytest.raises(CheckpointError, match=r"The run is over, but .*/checkpoints holds no checkpoint any more: .*export\(path"):
        fit(tmp_path / "run", Removes())


# Row 8


@pytest.mark.fault(8)
@pytest.mark.parametrize("call", ["rename", "remove_file"])
def test_old_checkpoints_cannot_be_removed(tmp_path, whole, monkeypatch, call):
    real = getattr(files, call)

    def refused(*paths):
        if any(path.name.startswith(".del-") or path.parent.name.startswith(".del-") for path in paths):
            raise PermissionError(13, "Permission denied", str(paths[0]))
        return real(*paths)

    monkeypatch.setattr(files, call, refused)
    with pytest.warns(UserWarning, match=r"could not be removed: .*Permission denied.*by hand\."):
        ended = fit(tmp_path, keep=1)
    monkeypatch.setattr(files, call, real)
    assert_ends_as(whole, tmp_path, ended)
    there = checkpoints(tmp_path)
    assert next(name for name in there if name.startswith("step-")) == "step-00000006"
    assert len(there) == 4  # nothing was lost, and nothing more was made
    go_on(tmp_path, max_epochs=3, keep=1)
    assert checkpoints(tmp_path) == ["step-00000009", "last.json"]


# Row 28


def counted(recorded, text):
    return sum(text in str(each.message) for each in recorded)


@pytest.mark.fault(28)
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no disk that is always full")
def test_the_disk_of_the_curves_is_full(tmp_path, whole):
    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
    with pytest.warns(UserWarning, match=r"metrics\.jsonl cannot be written: No space left on device\. The run goes on") as warned:
        ended = fit(tmp_path)
    assert len(warned) == 1
    assert_same_end(ended, whole[0])
    assert status(tmp_path) == "completed"


@pytest.mark.fault(28)
def test_the_curves_are_lost_on_the_way_and_written_again(tmp_path, whole):
    def put_a_folder_there(engine):
        (tmp_path / "metrics.jsonl").unlink()
        (tmp_path / "metrics.jsonl").mkdir()

    with pytest.warns(UserWarning, match=r"metrics\.jsonl cannot be written") as warned:
        fit(tmp_path, Does(3, do=put_a_folder_there), Does(5, do=stop))
    assert counted(warned, "cannot be written") == 1
    (tmp_path / "metrics.jsonl").rmdir()
    with pytest.warns(UserWarning, match=r"has 0 bytes and should have \d+: the curves before this moment are incomplete"):
        module, result = go_on(tmp_path)
    assert difference(dict(module.state_dict()), dict(whole[0][0].state_dict())) is None
    assert result.metrics == whole[0][1].metrics
    assert lines(tmp_path)[-1] == lines(whole[1])[-1]


# Row 31


@pytest.mark.fault(31)
@pytest.mark.parametrize("resume", ["auto", "must", "never"])
def test_two_runs_in_one_folder(tmp_path, whole, resume):
    said = []

    def start_others(engine):
        before = random_state()
        for other in (tmp_path, Path(os.path.relpath(tmp_path))):
            with pytest.raises(ResumeError, match=r"is in use by another run: process \d+ on .*\. Wait for it to end"):
                fit(other, resume=resume)
        said.append(in_child(lambda: fit(tmp_path, resume=resume)))
        set_random_state(before)

    ended = fit(tmp_path, Does(2, 5, do=start_others), save_every=Events.ITERATION_COMPLETED(every=4))
    assert [code for code, _ in said] == [1, 1]
    assert all(text.startswith(f"ResumeError: {tmp_path} is in use by another run: process {os.getpid()} on ") for _, text in said)
    assert_ends_as(whole, tmp_path, ended)
    assert checkpoints(tmp_path) == ["step-00000006", "step-00000004", "last.json"]
