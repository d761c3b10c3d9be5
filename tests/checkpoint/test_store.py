import errno
import json
import os
import resource
import shutil
import tempfile
from pathlib import Path

import pytest
from children import Child, as_nobody, in_child
from forging import forge
from states import a_state, canonical

import framework.checkpoint.files as files
from framework import CheckpointError, SettingError
from framework.checkpoint.store import CheckpointStore


def names(store):
    return [path.name for path in store.checkpoints()]


def saved(store, *steps, **more):
    for step in steps:
        store.save(step, a_state(step), **more)
    return store


def holds(checkpoint, step):
    state = {part: checkpoint.read(part) for part in checkpoint.parts}
    return checkpoint.step == step and canonical(state) == canonical(a_state(step))


def spoil(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.fixture
def store(tmp_path):
    store = CheckpointStore(tmp_path / "run", keep=2)
    store.prepare()
    return store


def test_an_empty_store(tmp_path):
    store = CheckpointStore(tmp_path / "missing")
    assert (store.checkpoints(), store.newest(), store.best(), store.last()) == ([], None, None, None)


@pytest.mark.parametrize("keep", [0, -1, 1.5, True, "2"])
def test_how_many_to_keep(tmp_path, keep):
    with pytest.raises(SettingError, match="keep should be an integer of at least 1, or None to keep every checkpoint; got "):
        CheckpointStore(tmp_path, keep)


def test_the_newest_and_the_best_stay(store):
    store.save(1, a_state(1), best=True)
    saved(store, 2, 3, 4)
    assert names(store) == ["step-00000004", "step-00000003", "step-00000001"]
    assert store.best() == store.folder / "step-00000001"
    store.save(5, a_state(5), best=True)
    assert names(store) == ["step-00000005", "step-00000004"]
    assert store.best() == store.last() == store.folder / "step-00000005"
    assert holds(store.newest(), 5)


def test_one_may_be_enough(tmp_path):
    store = saved(CheckpointStore(tmp_path, keep=1), 1, 2, 3)
    assert names(store) == ["step-00000003"]


def test_none_is_removed_where_all_are_kept(tmp_path):
    store = saved(CheckpointStore(tmp_path, keep=None), 1, 2, 3, 4)
    assert len(names(store)) == 4


def test_there_is_one_at_every_moment(tmp_path, monkeypatch):
    store = saved(CheckpointStore(tmp_path, keep=1), 1)
    seen = []
    for call in CALLS:
        function = getattr(files, call)
        monkeypatch.setattr(files, call, lambda *args, function=function: seen.append(len(names(store))) or function(*args))
    saved(store, 2)
    assert min(seen) == 1
    assert max(seen) == 2


CALLS = ("make_folder", "create", "write", "sync", "close", "sync_folder", "rename", "remove_file", "remove_folder")


def test_hints_name_the_last_and_the_best_for_others(store):
    store.save(1, a_state(1), best=True)
    saved(store, 2)
    assert json.loads((store.folder / "last.json").read_text()) == {"checkpoint": "step-00000002", "step": 2}
    assert json.loads((store.folder / "best.json").read_text()) == {"checkpoint": "step-00000001", "step": 1}


@pytest.mark.parametrize("content", [None, b"", b"\0\0", b'{"checkpoint": "../../etc"}', b'{"checkpoint": "step-00000001"}'])
def test_hints_are_not_believed(store, content):
    store.save(2, a_state(2), best=True)
    saved(store, 3)
    for hint in ("last.json", "best.json"):
        (store.folder / hint).unlink()
        if content is not None:
            (store.folder / hint).write_bytes(content)
    assert store.last().name == store.newest().path.name == "step-00000003"
    assert store.best().name == "step-00000002"
    assert names(saved(store, 4, 5)) == ["step-00000005", "step-00000004", "step-00000002"]


def test_a_hint_that_cannot_be_written_is_told(store, monkeypatch):
    monkeypatch.setattr(files, "write_json", refusing(errno.EIO))
    with pytest.warns(UserWarning, match=r"step-00000001 is saved, but last.json does not name it: .*Input/output error"):
        path = store.save(1, a_state(1))
    assert store.newest().path == path


def test_facts_go_with_a_checkpoint(store):
    store.save(1, a_state(1), facts={"epoch": 3})
    assert store.newest().facts == {"epoch": 3}


@pytest.mark.fault(37)
def test_the_newest_is_that_of_the_last_step_whatever_the_clock_says(tmp_path):
    store = saved(CheckpointStore(tmp_path, keep=None), 9, 10, 10, 2)
    assert names(store) == ["step-00000010.1", "step-00000010", "step-00000009", "step-00000002"]
    for age, path in enumerate(store.checkpoints()):
        for file in (path, *path.iterdir()):
            os.utime(file, (1e9 + age, 1e9 + age))
    assert store.newest().path.name == "step-00000010.1"
    assert store.last().name == "step-00000010.1"


@pytest.mark.fault(37)
def test_a_checkpoint_under_a_later_name_is_not_the_newest(store):
    saved(store, 1, 2)
    (store.folder / "step-00000001").rename(store.folder / "step-00000007")
    with pytest.warns(UserWarning, match=r"it is of step 1, in a folder of step 7. .*step-00000002 is used instead"):
        assert holds(store.newest(), 2)


def test_what_else_lies_there_is_no_checkpoint(store):
    saved(store, 1)
    (store.folder / "step-00000009").write_bytes(b"a file")
    (store.folder / "step-00000008").symlink_to(store.folder / "step-00000001")
    (store.folder / "step-7").mkdir()
    assert names(store) == ["step-00000001"]
    assert saved(store, 9).last().name == "step-00000009.1"


@pytest.mark.fault(3, 4, 5)
@pytest.mark.parametrize("name", ["manifest.json", "model.safetensors", "run.json"])
def test_a_damaged_one_is_told_and_the_one_before_is_used(store, name):
    saved(store, 1, 2)
    spoil(store.folder / "step-00000002" / name)
    with pytest.warns(UserWarning, match=rf"step-00000002/{name} is damaged: .* .*run/step-00000001 is used instead\.") as told:
        assert holds(store.newest(), 1)
    assert len(told) == 1
    assert names(store) == ["step-00000002", "step-00000001"]


def test_a_best_one_without_a_whole_manifest_is_none(tmp_path):
    store = saved(CheckpointStore(tmp_path, keep=None), 1, 2, best=True)
    spoil(tmp_path / "step-00000002" / "manifest.json")
    assert store.best().name == "step-00000001"


@pytest.mark.fault(3, 4, 5)
def test_all_damaged(store):
    saved(store, 1, 2)
    for path in store.checkpoints():
        spoil(path / "run.json")
    words = r"No checkpoint in .*run is whole: .*step-00000002/run.json is damaged: .*step-00000001/run.json is damaged: "
    with pytest.raises(CheckpointError, match=words):
        store.newest()


def test_a_damaged_one_does_not_count_among_those_kept(store):
    saved(store, 10, 20)
    spoil(store.folder / "step-00000020" / "run.json")
    with pytest.warns(UserWarning, match="step-00000010 is used instead"):
        store.newest()
    assert names(saved(store, 20)) == ["step-00000020.1", "step-00000010"]  # two that are whole


def test_what_is_newer_than_what_is_written_stays(store):
    saved(store, 10, 20)
    spoil(store.folder / "step-00000020" / "run.json")
    assert names(saved(store, 11, 12, 13)) == ["step-00000020", "step-00000013", "step-00000012"]


@pytest.mark.fault(36)
def test_one_of_another_format_is_not_passed_over(store):
    saved(store, 1)
    forge(store.folder / "step-00000002", {}, step=2, format=3)
    with pytest.raises(CheckpointError, match=r"step-00000002 is a checkpoint of format 3, .* reads formats 1 and 2"):
        store.newest()


def refusing(number):
    def refuse(*args):
        raise OSError(number, os.strerror(number))

    return refuse


@pytest.mark.fault(8)
@pytest.mark.parametrize("call", ["rename", "remove_file", "remove_folder"])
def test_a_removal_that_fails_is_told_and_stops_nothing(store, monkeypatch, call):
    saved(store, 1, 2)
    function = getattr(files, call)
    refuse = refusing(errno.EBUSY)
    monkeypatch.setattr(files, call, lambda path, *rest: refuse() if "step-00000001" in str(path) else function(path, *rest))
    with pytest.warns(UserWarning, match=r"step-00000001 could not be removed: .*busy.*\. Remove it by hand\.") as told:
        saved(store, 3)
    assert len(told) == 1
    assert holds(store.newest(), 3)
    monkeypatch.undo()
    store.prepare()
    assert names(saved(store, 4)) == ["step-00000004", "step-00000003"]
    assert sorted(path.name for path in store.folder.iterdir()) == ["last.json", "step-00000003", "step-00000004"]


@pytest.mark.fault(1)
def test_prepare_removes_what_dead_processes_left_and_nothing_else(store):
    saved(store, 1)
    dead = Child(lambda say: None)
    dead.end()
    alive = Child(lambda say: say("here") and os.read(os.pipe()[0], 1))
    alive.hear()
    try:
        for name in (
            f".tmp-2-{dead.pid}",
            f".del-step-00000001-{dead.pid}",
            f".tmp-3-{alive.pid}",
            f".tmp-4-{os.getpid()}",
            ".tmp-x",
        ):
            (store.folder / name / "inner").mkdir(parents=True)
        (store.folder / f".tmp-last.json-{dead.pid}").touch()
        store.prepare()
        assert sorted(path.name for path in store.folder.iterdir()) == [
            f".tmp-3-{alive.pid}",
            ".tmp-x",
            "last.json",
            "step-00000001",
        ]
    finally:
        alive.kill()
        alive.end()
    assert names(saved(store, 2)) == ["step-00000002", "step-00000001"]


def test_prepare_makes_the_folder_and_what_is_above(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(files, "sync_folder", synced.append)
    CheckpointStore(tmp_path / "a" / "b").prepare()
    assert set(synced) == {tmp_path / "a", tmp_path}


@pytest.mark.fault(7)
def test_a_folder_that_is_not_writable_is_refused_at_once(tmp_path):
    with tempfile.TemporaryDirectory() as name:  # one that others can reach
        folder = Path(name)

        def child(say):
            with as_nobody(folder):
                for store in (CheckpointStore(folder), CheckpointStore(folder / "new")):
                    with pytest.raises(
                        CheckpointError, match=r"^Preparing .* for checkpoints failed: .*Permission denied.*may be written to"
                    ):
                        store.prepare()
                with pytest.raises(CheckpointError, match=r"^Saving step 2 as .*/step-00000002 failed: .*Permission denied"):
                    CheckpointStore(folder).save(2, a_state(2))

        in_child(child)
        assert list(folder.iterdir()) == []


@pytest.mark.fault(7)
def test_a_folder_that_was_removed_is_told_at_the_next_save(store):
    saved(store, 1)
    shutil.rmtree(store.folder)
    with pytest.raises(
        CheckpointError, match=r"^Saving step 2 as .*step-00000002 failed: .*No such file.* See that the folder exists"
    ):
        saved(store, 2)


def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "run").touch()
    with pytest.raises(CheckpointError, match=r"run cannot be searched for checkpoints: .*Not a directory"):
        CheckpointStore(tmp_path / "run").checkpoints()
    with pytest.raises(CheckpointError, match=r"^Preparing .*run for checkpoints failed: .*File exists"):
        CheckpointStore(tmp_path / "run").prepare()


@pytest.mark.fault(6)
@pytest.mark.parametrize("keep", [1, 2])
def test_a_full_disk(tmp_path, keep):
    store = saved(CheckpointStore(tmp_path, keep), 1)

    def child(say):
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, 2**16))
        with pytest.raises(
            CheckpointError, match=r"^Saving step 2 as .*/step-00000002 failed: the disk is full.* are untouched\. Make room"
        ):
            store.save(2, a_state(2, size=2**16))
        store.save(3, a_state(3))  # a smaller one still fits

    code, text = Child(child).end()
    assert code == 0, text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last.json", *["step-00000001"] * (keep - 1), "step-00000003"]
    assert holds(store.newest(), 3)


@pytest.mark.fault(6)
def test_a_full_disk_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    store = saved(CheckpointStore(tmp_path, keep=1), 1)
    monkeypatch.setattr(files, "write", refusing(errno.ENOSPC))
    with pytest.raises(CheckpointError, match="the disk is full"):
        saved(store, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last.json", "step-00000001"]
    assert holds(store.newest(), 1)


def test_another_users_process_is_alive(store, monkeypatch):
    (store.folder / ".tmp-1-77").mkdir()
    monkeypatch.setattr(os, "kill", refusing(errno.EPERM))
    store.prepare()
    assert (store.folder / ".tmp-1-77").exists()
