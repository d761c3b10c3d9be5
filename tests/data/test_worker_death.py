"""A worker that has died is named, however its death comes to light."""

import multiprocessing
import os
from signal import SIGKILL

import pytest

from framework.data.worker_death import FromWorkers


def end(how):
    os.kill(os.getpid(), SIGKILL) if how == "kill" else os._exit(how)


class Batches:
    """Torch's iterator, whose next batch raises."""

    def __init__(self, error, *workers):
        self._error, self._workers = error, workers

    def __next__(self):
        if self._error is None:
            return 7
        raise self._error


@pytest.fixture
def process():
    context = multiprocessing.get_context("fork")
    made = []

    def start(how=None):
        reader, writer = context.Pipe(duplex=False)
        made.append(context.Process(target=reader.recv if how is None else end, args=() if how is None else (how,)))
        made[-1].start()
        made[-1].pipe = reader, writer  # what a live one waits for
        return made[-1]

    yield start
    for each in made:
        each.kill()
        each.join()


@pytest.mark.fault(23)
@pytest.mark.parametrize("error", [EOFError(), ConnectionResetError(104, "reset")])
@pytest.mark.parametrize(("how", "words"), [("kill", "is killed by signal: Killed"), (3, "exited unexpectedly with code 3")])
def test_the_dead_one_is_named(process, error, how, words):
    alive, dead = process(), process(how)
    with pytest.raises(RuntimeError, match=rf"DataLoader worker \(pid {dead.pid}\) {words}") as caught:
        next(FromWorkers(Batches(error, alive, dead)))
    assert caught.value.__cause__ is error


def test_such_an_error_of_the_dataset_stays(process, monkeypatch):
    monkeypatch.setattr("framework.data.worker_death._DYING_S", 0.01)
    error = EOFError("a file is cut short")
    with pytest.raises(EOFError) as caught:
        next(FromWorkers(Batches(error, process())))
    assert caught.value is error


def test_batches_come_as_they_are():
    assert next(FromWorkers(Batches(None))) == 7
