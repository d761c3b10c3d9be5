import faulthandler
import multiprocessing
import os
import select
import signal
import sys
import threading

import pytest
from torch.utils.data import DataLoader

from framework.engine import Engine
from framework.module.stopping import watchdog as watchdog_file
from framework.module.stopping.watchdog import EXIT_HUNG, Watchdog

PATIENCE_S = 60


def hang():
    threading.Event().wait()


class Samples:
    def __init__(self, hangs_at):
        self.hangs_at = hangs_at

    def __len__(self):
        return 8

    def __getitem__(self, index):
        if index == self.hangs_at:
            hang()
        return index


def ready(worker):
    faulthandler.register(signal.SIGUSR2, all_threads=True)


def run_to_its_end(stderr, step_hangs_at, sample_hangs_at, num_workers, describe, workers, blame):
    os.dup2(stderr, 2)
    os.close(stderr)
    sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115  # pytest has put its own there

    def step(engine, batch):
        watchdog.beat()
        if engine.state.iteration == step_hangs_at:
            hang()

    fork = "fork" if num_workers else None
    batches = iter(
        DataLoader(Samples(sample_hangs_at), num_workers=num_workers, worker_init_fn=ready, multiprocessing_context=fork)
    )
    engine = Engine(step)
    with Watchdog(1, lambda: describe(engine), lambda: workers(batches), blame) as watchdog:
        engine.run(batches, epoch_length=8)


def place(engine):
    return f"iteration {engine.state.iteration}, last event {engine.last_event_name.name}"


def run_hanging(step_hangs_at=None, sample_hangs_at=None, num_workers=0, describe=place, workers=lambda batches: (), blame=None):
    """Returns the exit code of a process that hangs, and what it and its workers wrote, when all of them are gone."""
    reader, writer = os.pipe()
    arguments = (writer, step_hangs_at, sample_hangs_at, num_workers, describe, workers, blame)
    process = multiprocessing.get_context("fork").Process(target=run_to_its_end, args=arguments)
    process.start()
    os.close(writer)
    said, read = b"", None
    while select.select([reader], [], [], PATIENCE_S)[0] and (read := os.read(reader, 10_000)):
        said += read
    os.close(reader)
    process.kill()  # if it is still there
    process.join()
    assert read == b"", f"a process is left that can write, after {said.decode()}"
    return process.exitcode, said.decode()


@pytest.mark.fault(25)
def test_a_step_that_hangs_is_ended_and_named():
    code, said = run_hanging(step_hangs_at=3)
    assert code == EXIT_HUNG == 124
    assert "The run hangs: nothing has happened for 1" in said
    assert "1 s are allowed" in said
    assert "It hangs here: iteration 3, last event ITERATION_STARTED\n" in said
    assert "in hang\n" in said
    assert "in step\n" in said
    assert "in _iterate\n" in said
    assert "worker process" not in said


@pytest.mark.fault(24)
def test_a_worker_that_hangs_is_named_with_its_stack_and_killed():
    code, said = run_hanging(sample_hangs_at=3, num_workers=2, workers=lambda batches: batches._workers)
    assert code == EXIT_HUNG
    assert "It hangs here: iteration 3, last event GET_BATCH_STARTED\n" in said
    main, *workers = said.split("The stacks of worker process ")
    assert "in _try_get_data\n" in main
    assert [("in hang\n" in stacks, "in __getitem__\n" in stacks) for stacks in workers] == [(False, False), (True, True)]
    assert all(", which is killed then:" in stacks and "_worker_loop\n" in stacks for stacks in workers)


def test_what_fails_in_the_report_is_said_and_the_rest_is_told():
    def describe(engine):
        raise KeyError("iteration")

    code, said = run_hanging(step_hangs_at=1, describe=describe, workers=lambda batches: 1 / 0)
    assert code == EXIT_HUNG
    assert "could not find out more: KeyError('iteration')" in said
    assert "in hang\n" in said
    assert "could not find out more: ZeroDivisionError('division by zero')" in said


@pytest.mark.fault(25)
def test_a_process_that_only_waits_for_another_says_one_line():
    code, said = run_hanging(step_hangs_at=3, blame=lambda place: f"Rank 1 waits for others: {place}")
    assert code == EXIT_HUNG
    assert said == "Rank 1 waits for others: iteration 3, last event ITERATION_STARTED\n"


@pytest.mark.parametrize(
    ("blame", "first"),
    [
        (lambda place: None, "\nThe run hangs"),
        (
            lambda place: 1 / 0,
            "The watchdog could not ask the other processes: ZeroDivisionError('division by zero')\n\nThe run hangs",
        ),
    ],
    ids=["it says so", "it cannot ask"],
)
def test_the_process_to_blame_gives_the_report(blame, first):
    code, said = run_hanging(step_hangs_at=3, blame=blame)
    assert code == EXIT_HUNG
    assert said.startswith(first)
    assert "It hangs here: iteration 3" in said


def test_a_report_that_hangs_too_is_cut_off(monkeypatch):
    monkeypatch.setattr(watchdog_file, "_REPORT_S", 0.1)
    code, said = run_hanging(step_hangs_at=1, describe=lambda engine: hang())
    assert code == EXIT_HUNG
    assert "The run hangs" in said
    assert "It hangs here" not in said


class Clock:
    """Stands for the clock and for the wait between two looks; at each look it does what the script says, then moves on."""

    def __init__(self, *script):
        self.script = list(script)
        self.now = 0.0
        self.waits = []

    def __call__(self):
        return self.now

    def wait(self, interval_s):
        self.waits.append(interval_s)
        if not self.script:
            return True
        seconds, action = self.script.pop(0)
        if action is not None:
            action()
        self.now += seconds
        return False


@pytest.fixture
def watch(monkeypatch):
    """Watches with a script of (seconds, action) a look; returns the clock, and the silences that ended the run, in seconds."""

    def run(watchdog, *script):
        ended = []
        clock = Clock(*script)
        monkeypatch.setattr(watchdog_file, "perf_counter", clock)
        monkeypatch.setattr(watchdog, "_over", clock)
        monkeypatch.setattr(watchdog, "_end", ended.append)
        watchdog._watch()
        return clock, ended

    return run


@pytest.mark.parametrize(("timeout_s", "interval_s"), [(600, 1.0), (10, 1.0), (2, 0.2)])
def test_it_looks_as_often_as_its_timeout_needs(watch, timeout_s, interval_s):
    clock, _ = watch(Watchdog(timeout_s, str), (0, None))
    assert clock.waits == [interval_s] * 2


def test_it_ends_a_run_without_a_beat(watch):
    _, ended = watch(Watchdog(4, str), *[(0.5, None)] * 7)
    assert ended == []
    _, ended = watch(Watchdog(4, str), *[(0.5, None)] * 8)
    assert ended == [4.0]


def test_a_run_that_beats_is_never_ended(watch):
    watchdog = Watchdog(4, str)
    _, ended = watch(watchdog, *([(0.5, None)] * 6 + [(0.5, watchdog.beat)]) * 5)
    assert ended == []


def test_a_value_written_by_the_loop_is_a_beat(watch):
    watchdog = Watchdog(4, str)

    def write():
        watchdog.last += 1

    _, ended = watch(watchdog, *([(0.5, None)] * 6 + [(0.5, write)]) * 5)
    assert ended == []


def test_a_pause_may_last_any_time(watch):
    watchdog = Watchdog(4, str)
    outer, inner = watchdog.paused(), watchdog.paused()
    half = (0.5, None)
    script = [
        (0.5, outer.__enter__),
        *[half] * 20,
        (0.5, inner.__enter__),
        (0.5, lambda: inner.__exit__(None, None, None)),
        *[half] * 20,
    ]
    _, ended = watch(watchdog, *script)
    assert ended == []
    _, ended = watch(watchdog, (0.5, lambda: outer.__exit__(None, None, None)), *[half] * 7)
    assert ended == []
    _, ended = watch(watchdog, *[half] * 8)
    assert ended == [4.0]


def test_an_error_in_a_pause_ends_it(watch):
    watchdog = Watchdog(4, str)
    with pytest.raises(OSError, match="full"), watchdog.paused():
        raise OSError("full")
    _, ended = watch(watchdog, *[(0.5, None)] * 8)
    assert ended == [4.0]


def test_the_time_of_a_stopped_process_does_not_count(watch):
    _, ended = watch(Watchdog(10, str), (3600, None), *[(1, None)] * 7)
    assert ended == []
    _, ended = watch(Watchdog(10, str), (3600, None), *[(1, None)] * 8)
    assert ended == [10.0]


def test_no_thread_is_left():
    before = threading.active_count()
    watchdog = Watchdog(60, str)
    for _ in range(2):
        with watchdog as entered:
            assert entered is watchdog
            names = [thread.name for thread in threading.enumerate() if thread.daemon]
            assert "watchdog" in names
        assert threading.active_count() == before
    with pytest.raises(ValueError, match="a step"), watchdog:
        raise ValueError("a step")
    assert threading.active_count() == before


def test_a_real_run_that_beats_goes_on(monkeypatch):
    looks, ended = [], []

    class Looked(Watchdog):
        def beat(self):
            super().beat()
            self.beats = getattr(self, "beats", 0) + 1

        def __getattribute__(self, name):
            if name == "_pauses":  # asked for at each look
                looks.append(self.beats)
            return super().__getattribute__(name)

    watchdog = Looked(0.5, str)
    monkeypatch.setattr(watchdog, "_end", ended.append)
    with watchdog:
        while len(looks) < 15:  # 0.75 s
            watchdog.beat()
    assert ended == []
