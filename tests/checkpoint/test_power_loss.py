"""The power fails at each call that a save makes of the file system, and the disk keeps of the unsynced what it likes."""

import shutil

import pytest
from modelled_disk import Disk, recorded, write_tree
from states import a_state, canonical

from framework import CheckpointError
from framework.checkpoint.store import CheckpointStore

pytestmark = pytest.mark.fault(2)


@pytest.fixture(params=[1, 2], ids="keep {}".format)
def trace(request, tmp_path, monkeypatch):
    """The calls of three saves in a row, and after how many of them each save was over."""
    store = CheckpointStore(tmp_path / "run", request.param)
    store.folder.mkdir()
    calls, over = [], []
    for step in (1, 2, 3):
        calls += recorded(monkeypatch, lambda step=step: store.save(step, a_state(step), best=step == 2))
        over.append(len(calls))
    return store, calls, over


def losses(store, calls, scratch):
    """Yields the number of calls made, and what is newest after a loss of power: its step, None, or an error."""
    seen = {}
    disk = Disk(store.folder)
    for number in range(len(calls) + 1):
        for tree in disk.after_power_loss(seed=number):
            key = repr(tree)
            if key not in seen:
                write_tree(tree, scratch)
                seen[key] = newest_step(CheckpointStore(scratch, store.keep))
                shutil.rmtree(scratch)
            yield number, seen[key]
        if number < len(calls):
            disk.apply(*calls[number])


def newest_step(store):
    """Returns the step of the newest checkpoint, which is whole; a damaged one before it is an error too."""
    try:
        newest = store.newest()
    except (CheckpointError, UserWarning) as error:
        return error
    if newest is not None:
        assert canonical({part: newest.read(part) for part in newest.parts}) == canonical(a_state(newest.step))
    return newest and newest.step


def test_what_was_saved_is_there_whatever_is_lost(trace, tmp_path):
    store, calls, over = trace
    count = 0
    for number, found in losses(store, calls, tmp_path / "scratch"):
        before = sum(number >= end for end in over)  # so many saves were over
        assert found in ({None, 1} if before == 0 else {before, before + 1}), f"after {calls[number - 1]}"
        count += 1
    assert count == 28 * (len(calls) + 1)


@pytest.mark.parametrize("left_out", ["sync", "sync_folder"])
def test_without_syncing_something_would_be_lost(trace, tmp_path, left_out):
    store, calls, _ = trace
    calls = [call for call in calls if call[0] != left_out]
    assert any(isinstance(found, Exception) for _, found in losses(store, calls, tmp_path / "scratch"))
