import subprocess
import sys
import threading
from concurrent import futures

import pytest
import torch
from children import Child
from states import a_state, canonical

import framework.checkpoint.files as files
from framework import CheckpointError
from framework.checkpoint import background
from framework.checkpoint.background import BackgroundSaver
from framework.checkpoint.store import CheckpointStore

pytestmark = pytest.mark.fault(30)


@pytest.fixture
def store(tmp_path):
    return CheckpointStore(tmp_path, keep=2)


@pytest.fixture
def saver(store):
    saver = BackgroundSaver(store)
    yield saver
    saver.close()


@pytest.fixture
def gate(monkeypatch):
    """Keeps writing back until it is set."""
    gate, rename = threading.Event(), files.rename
    monkeypatch.setattr(files, "rename", lambda *paths: gate.wait() and rename(*paths))
    yield gate
    gate.set()


def read_all(checkpoint):
    return {part: checkpoint.read(part) for part in checkpoint.parts}


def test_what_is_saved_is_the_state_of_that_step(store, saver, gate):
    state = a_state(1)
    saver.save(1, state, facts={"epoch": 1})
    for tensor in state["model"].values():
        tensor.zero_()
    state["run"]["moments"].clear()
    assert store.checkpoints() == []  # not written yet, and we are here
    gate.set()
    assert saver.wait() == store.folder / "step-00000001"
    assert canonical(read_all(store.newest())) == canonical(a_state(1))
    assert store.newest().facts == {"epoch": 1}


def test_tied_tensors_stay_tied(store, saver):
    saver.save(1, a_state(1))
    saver.wait()
    model = store.newest().read("model")
    assert model["net.weight"] is model["head.weight"]


def test_a_second_save_waits_for_the_first(store, saver, gate, monkeypatch):
    waited = []

    def wait(under_way):
        waited.append(len(store.checkpoints()))
        gate.set()
        return futures.wait(under_way)

    saver.save(1, a_state(1))
    monkeypatch.setattr(background, "wait", wait)
    saver.save(2, a_state(2))
    assert waited == [0]
    saver.wait()
    assert [path.name for path in store.checkpoints()] == ["step-00000002", "step-00000001"]


def test_copies_are_used_again(store, saver):
    saver.save(1, a_state(1))
    first = dict(saver._copies)
    saver.save(2, a_state(2))
    assert all(saver._copies[name] is copy for name, copy in first.items())
    saver.save(3, a_state(3, size=8) | {"more": [torch.ones(2)]})  # other shapes
    saver.wait()
    assert canonical(read_all(store.newest())) == canonical(a_state(3, size=8) | {"more": [torch.ones(2)]})


def test_copies_may_be_made_in_inference_mode(store, saver):
    with torch.inference_mode():
        saver.save(1, {"model": torch.ones(2)})
    saver.save(2, {"model": torch.ones(2)})


def test_best_and_rotation_are_those_of_the_store(store, saver):
    for step in (1, 2, 3, 4):
        saver.save(step, a_state(step), best=step == 1)
    saver.wait()
    assert [path.name for path in store.checkpoints()] == ["step-00000004", "step-00000003", "step-00000001"]
    assert store.best().name == "step-00000001"


def test_what_cannot_be_stored_is_refused_at_once(store, saver):
    with pytest.raises(CheckpointError, match=r"run\.x is an object"):
        saver.save(1, {"run": {"x": object()}})
    assert saver.wait() is None


def refuse(*args):
    raise OSError(5, "Input/output error")


def test_a_failure_is_heard_of_at_the_next_save_which_has_not_begun(store, saver, monkeypatch):
    saver.save(1, a_state(1))
    saver.wait()
    with monkeypatch.context() as patch:
        patch.setattr(files, "sync", refuse)
        saver.save(2, a_state(2))
        with pytest.raises(CheckpointError, match=r"^Saving step 2 as .*Input/output error"):
            saver.save(3, a_state(3))
    assert saver.wait() is None
    assert canonical(read_all(store.newest())) == canonical(a_state(1))
    saver.save(4, a_state(4))
    saver.wait()
    assert [path.name for path in store.checkpoints()] == ["step-00000004", "step-00000001"]


@pytest.mark.parametrize("verb", ["wait", "close"])
def test_a_failure_is_heard_of_at_the_end(store, monkeypatch, verb):
    monkeypatch.setattr(files, "sync", refuse)
    saver = BackgroundSaver(store)
    saver.save(2, a_state(2))
    with pytest.raises(CheckpointError, match=r"^Saving step 2 as "):
        getattr(saver, verb)()
    assert saver.close() is None


def test_close_finishes_and_ends_the_thread(store):
    before = threading.active_count()
    saver = BackgroundSaver(store)
    saver.save(1, a_state(1))
    assert saver.close() == store.folder / "step-00000001"
    assert saver.close() is None
    assert threading.active_count() == before
    with pytest.raises(CheckpointError, match=r"Step 2 cannot be saved: this BackgroundSaver is closed\. Make another one\."):
        saver.save(2, a_state(2))


@pytest.mark.fault(1)
def test_a_process_that_is_killed_in_flight_leaves_the_one_before(store):
    store.save(1, a_state(1))

    def child(say):
        never = threading.Event()
        files.sync_folder = lambda path: say("writing") and never.wait()
        saver = BackgroundSaver(store)
        saver.save(2, a_state(2))
        never.wait()

    killed = Child(child)
    assert killed.hear() == "writing"
    killed.kill()
    assert killed.end() == (-9, "")
    assert canonical(read_all(store.newest())) == canonical(a_state(1))
    store.prepare()
    assert sorted(path.name for path in store.folder.iterdir()) == ["last.json", "step-00000001"]


PROGRAM = """
import sys, threading
from pathlib import Path
import torch
import framework.checkpoint.files as files
from framework.checkpoint import BackgroundSaver, CheckpointStore

over = threading.Event()
threading._register_atexit(over.set)  # as the first of what the interpreter does at its end
create = files.create
files.create = lambda path: over.wait() and create(path)
BackgroundSaver(CheckpointStore(Path(sys.argv[1]))).save(1, {"model": {"weight": torch.ones(2)}})
print("over")
"""


def test_a_program_that_ends_without_close_still_writes(store):
    run = subprocess.run([sys.executable, "-c", PROGRAM, store.folder], capture_output=True, text=True, timeout=120, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (0, "over\n", "")
    assert store.newest().read("model")["weight"].tolist() == [1, 1]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_tensors_on_a_gpu_are_copied_to_pinned_memory(store, saver):
    weight = torch.arange(6.0, device="cuda").reshape(2, 3).T
    for step in (1, 2):
        saver.save(step, {"model": {"weight": weight, "tied": weight}})
        weight += 1
    saver.wait()
    assert all(copy.is_pinned() for copy in saver._copies.values())
    assert torch.equal(store.newest().read("model")["weight"], torch.arange(6.0).reshape(2, 3).T + 1)
