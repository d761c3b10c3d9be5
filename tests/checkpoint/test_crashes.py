"""The process dies at each call that a save makes of the file system, and something whole is always there."""

import os
import shutil

import pytest
from children import Child
from states import a_state, canonical

import framework.checkpoint.files as files
from framework.checkpoint.store import CheckpointStore

pytestmark = pytest.mark.fault(1)

CALLS = ("make_folder", "create", "write", "sync", "close", "sync_folder", "rename", "remove_file", "remove_folder")
DIED = 9


def die_at(number, when):
    """In a child: the process ends before its call `number` of the file system, or in the midst of its write `number`."""
    count = iter(range(10**9))

    def dying(name, call):
        def wrapped(*args):
            if when == "before" and next(count) == number:
                os._exit(DIED)
            if when == "in" and name == "write" and next(count) == number:
                file, data = args
                file.write(data[: len(data) // 2])
                file.flush()
                os._exit(DIED)
            return call(*args)

        return wrapped

    os.fsync = lambda descriptor: None  # what is synced matters to the power, not to the process
    for name in CALLS:
        setattr(files, name, dying(name, getattr(files, name)))


def state_of(checkpoint):
    return canonical({part: checkpoint.read(part) for part in checkpoint.parts})


@pytest.mark.parametrize("when", ["before", "in"])
@pytest.mark.parametrize("keep", [1, 2])
def test_a_process_that_dies_at_any_call(tmp_path, keep, when):
    old = CheckpointStore(tmp_path / "old", keep)
    old.prepare()
    for step in range(keep):
        old.save(step, a_state(step))
    expected = {step: canonical(a_state(step)) for step in (keep - 1, keep)}
    found = []
    for number in range(200):
        store = CheckpointStore(tmp_path / "run", keep)
        shutil.copytree(old.folder, store.folder)

        def save(say, store=store, number=number):
            die_at(number, when)
            store.prepare()
            store.save(keep, a_state(keep), best=True)

        code, text = Child(save).end()
        assert code in (0, DIED), text
        newest = store.newest()
        assert state_of(newest) == expected[newest.step]
        found.append(newest.step)
        store.prepare()
        assert all(path.name.startswith("step-") or path.name in ("last.json", "best.json") for path in store.folder.iterdir())
        assert state_of(store.newest()) == expected[newest.step]
        assert keep <= len(store.checkpoints()) <= keep + 1
        shutil.rmtree(store.folder)
        if code == 0:
            break
    assert number > (35 if when == "before" else 8)  # so many deaths
    assert found == sorted(found)
    assert found[-1] == keep
