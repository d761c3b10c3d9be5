"""Real kills, at moments spread over large saves."""

import threading

import pytest
import torch
from children import Child

from framework.checkpoint.background import BackgroundSaver
from framework.checkpoint.store import CheckpointStore

pytestmark = [pytest.mark.slow, pytest.mark.fault(1, 30)]

SIZE = 150_000_000
KILLS = 8


def parts(step):
    return {"model": {"weight": torch.full((SIZE // 4,), float(step)), "bias": torch.arange(5) + step}, "run": {"step": step}}


@pytest.mark.parametrize("in_background", [False, True])
@pytest.mark.parametrize("keep", [1, 2])
def test_a_kill_in_a_large_save(tmp_path, keep, in_background):
    store = CheckpointStore(tmp_path, keep)
    store.save(0, parts(0))
    steps = []
    for kill in range(KILLS):

        def save_on_and_on(say):
            store.prepare()
            saver = BackgroundSaver(store) if in_background else store
            newest = store.newest().step
            say("ready")
            for step in range(newest + 1, newest + 100):
                saver.save(step, parts(step))

        child = Child(save_on_and_on)
        assert child.hear() == "ready"
        threading.Event().wait(0.1 + 0.17 * kill)  # the moment of the kill is what varies
        child.kill()
        code, text = child.end()
        assert code == -9, text
        newest = store.newest()
        state = newest.read("model")
        assert newest.read("run") == {"step": newest.step}
        assert torch.equal(state["weight"], torch.full((SIZE // 4,), float(newest.step)))
        steps.append(newest.step)
    assert steps == sorted(steps)
    assert steps[-1] > 0
    store.prepare()
    assert all(path.name.startswith("step-") or path.name == "last.json" for path in tmp_path.iterdir())
