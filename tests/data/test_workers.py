"""Worker processes: they leave signals to the main process, die with it, and end when they are told to."""

import multiprocessing
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from augmented import Augmented, Stuck, equal
from torch.utils.data import DataLoader, get_worker_info

from framework.data import ordered, workers

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
TIMEOUT_S = 60
SLOW = [pytest.param(method, marks=pytest.mark.slow) for method in ("spawn", "forkserver")]  # each worker imports torch anew
HEAD = """
import multiprocessing, os, signal, sys
import torch
from augmented import Augmented, Stream, Stuck
from torch.utils.data import DataLoader
from framework.data import ordered

if __name__ == "__main__":
    torch.set_num_threads(1)
"""
GROUP = """
    for ignored in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ignored, lambda *_: None)
    for loader in (
        DataLoader(Augmented(40), batch_size=2, num_workers=2, persistent_workers=True),
        DataLoader(Stream(20), batch_size=2, num_workers=2, persistent_workers=True),
    ):
        data = ordered(loader, seed=1)
        batches = iter(data)
        next(batches)
        before = [worker.pid for worker in data.workers()]
        os.killpg(0, signal.SIGTERM)
        os.killpg(0, signal.SIGINT)
        count = 1 + len(list(batches)) + len(list(data))
        assert [worker.pid for worker in data.workers()] == before
        data.close()
        print(count, flush=True)
"""
STARTING = """
    signal.signal(signal.SIGTERM, lambda *_: None)
    loader = DataLoader(Augmented(8), batch_size=2, num_workers=1, multiprocessing_context="{method}", persistent_workers=True)
    data = ordered(loader, seed=1)
    batches = iter(data)
    os.killpg(0, signal.SIGTERM)
    count = len(list(batches))
    os.killpg(0, signal.SIGTERM)
    print(count + len(list(data)), flush=True)
    data.close()
"""
ORPHANS = """
    entered = multiprocessing.Semaphore(0)
    data = ordered(DataLoader(Stuck(entered), batch_size=4, num_workers=2), seed=1)
    batches = iter(data)
    next(batches)
    for _ in range(2):
        entered.acquire()
    print(*[worker.pid for worker in data.workers()], flush=True)
    {then}
"""
FORKED = """
    data = ordered(DataLoader(Augmented(40), batch_size=2, num_workers=1), seed=1)
    batches = iter(data)
    next(batches)
    if (child := os.fork()) == 0:
        data.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    print(len(list(batches)), flush=True)
    data.close()
"""


class Opened(Augmented):
    """A dataset that is opened in each worker."""

    opened = None


def open_dataset(number):
    info = get_worker_info()
    info.dataset.opened = info.id, info.num_workers, number


def opened(samples):
    return get_worker_info().dataset.opened, torch.stack(samples)


def start(code):
    return subprocess.Popen(
        [sys.executable, "-c", HEAD + code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])},
    )


def wait_for_end(descriptor):
    assert select.select([descriptor], [], [], TIMEOUT_S)[0], "the process is alive"
    os.close(descriptor)


@pytest.mark.fault(11)
def test_signals_to_the_whole_group_do_not_reach_them():
    process = start(GROUP)
    out, errors = process.communicate(timeout=TIMEOUT_S)
    assert (out.split(), errors, process.returncode) == (["40", "40"], "", 0)


@pytest.mark.fault(11)
@pytest.mark.parametrize("method", ["fork", *SLOW])
def test_signals_to_the_whole_group_do_not_reach_them_while_they_start_either(method):
    process = start(STARTING.format(method=method))
    out, errors = process.communicate(timeout=TIMEOUT_S)
    assert (out.strip(), errors, process.returncode) == ("8", "", 0)


def signals_of(samples):
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    return handlers, signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_they_ignore_two_signals_and_block_none():
    data = ordered(DataLoader(Augmented(4), batch_size=4, num_workers=1, collate_fn=signals_of), seed=1)
    assert list(data) == [([signal.SIG_IGN] * 2, set())]
    data.close()


@linux
def test_they_die_with_a_killed_parent_even_inside_the_users_code():
    process = start(ORPHANS.format(then="signal.pause()"))
    ends = [os.pidfd_open(int(pid)) for pid in process.stdout.readline().split()]
    assert len(ends) == 2
    process.kill()
    process.communicate(timeout=TIMEOUT_S)
    for end in ends:
        wait_for_end(end)


@linux
@pytest.mark.parametrize("then", ["sys.exit(3)", "del batches, data"])
def test_a_stuck_one_does_not_keep_the_program_from_ending(then):
    process = start(ORPHANS.format(then=then))
    out, errors = process.communicate(timeout=TIMEOUT_S)
    assert (errors, process.returncode) == ("", 3 if "exit" in then else 0)
    assert not any(Path(f"/proc/{pid}").exists() for pid in out.split())


def test_a_forked_process_leaves_them_to_the_one_that_started_them():
    process = start(FORKED)
    out, errors = process.communicate(timeout=TIMEOUT_S)
    assert (out.strip(), errors, process.returncode) == ("19", "", 0)


@pytest.mark.fault(24)
def test_a_stuck_one_writes_its_stacks_when_asked():
    process = start(ORPHANS.format(then="signal.pause()"))
    pid = int(process.stdout.readline().split()[0])
    lines = []
    os.kill(pid, signal.SIGUSR2)
    while not lines or "in wait_for_ever" not in lines[-1]:
        lines.append(process.stderr.readline())
        assert lines[-1], "".join(lines)
    process.kill()
    process.communicate(timeout=TIMEOUT_S)


@pytest.mark.parametrize("persistent", [False, True])
def test_close_kills_those_that_are_stuck(monkeypatch, persistent):
    monkeypatch.setattr(workers, "PATIENCE_S", 0.2)
    entered = multiprocessing.Semaphore(0)
    data = ordered(DataLoader(Stuck(entered), batch_size=4, num_workers=2, persistent_workers=persistent), seed=1)
    batches = iter(data)
    assert next(batches).tolist() == [0, 1, 2, 3]
    for _ in range(2):
        assert entered.acquire(timeout=TIMEOUT_S)
    alive = data.workers()
    assert len(alive) == 2
    data.close()
    assert data.workers() == []
    assert [worker.exitcode for worker in alive] == [-signal.SIGKILL] * 2
    data.close()


def test_close_asks_first_and_the_next_pass_starts_others():
    data = ordered(DataLoader(Augmented(), batch_size=4, num_workers=2, persistent_workers=True), seed=1)
    first = list(data)
    alive = data.workers()
    data.close()
    assert [worker.exitcode for worker in alive] == [0, 0]
    data.load_position({"epoch": 0, "samples": 0, "seed": 1, "length": 23})
    assert equal(first, list(data))
    assert not {worker.pid for worker in data.workers()} & {worker.pid for worker in alive}
    data.close()


def test_they_end_with_the_data():
    data = ordered(DataLoader(Augmented(), batch_size=4, num_workers=1, persistent_workers=True), seed=1)
    list(data)
    (worker,) = data.workers()
    del data
    assert not worker.is_alive()


def test_the_users_start_function_runs_and_sees_the_users_dataset():
    loader = DataLoader(Opened(), batch_size=4, num_workers=1, worker_init_fn=open_dataset, collate_fn=opened)
    data = ordered(loader, seed=1)
    assert {seen for seen, _ in data} == {(0, 1, 0)}
    data.close()


@pytest.mark.fault(17)
@pytest.mark.parametrize("method", ["spawn", SLOW[1]])
def test_they_may_be_started_in_any_way(method):
    loader = DataLoader(
        Opened(), batch_size=12, shuffle=True, num_workers=1, multiprocessing_context=method, worker_init_fn=open_dataset
    )
    data = ordered(loader, seed=1)
    expected = list(ordered(DataLoader(Augmented(), batch_size=12, shuffle=True), seed=1))
    assert equal(list(data), expected)
    data.close()


def test_signals_are_held_only_while_they_are_started():
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    with workers.signals_held(None):
        assert {signal.SIGINT, signal.SIGTERM} <= signal.pthread_sigmask(signal.SIG_BLOCK, [])
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before


def test_where_signals_cannot_be_held_nothing_is_done(monkeypatch):
    monkeypatch.delattr(signal, "pthread_sigmask")
    with workers.signals_held(None):
        pass
