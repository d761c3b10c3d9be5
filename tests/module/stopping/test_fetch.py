import os
import queue
import random
import signal
import sys
import threading
import traceback
from contextlib import contextmanager
from functools import partial

import pytest
from torch.utils.data import DataLoader

from framework.data import ordered
from framework.engine import Engine, Events
from framework.engine.loop import Paused
from framework.module.stopping.fetch import inside_fetch
from framework.module.stopping.signals import StopSignals

ITEMS = [10, 11, 12, 13, 14, 15]


@pytest.fixture(autouse=True)
def usual_handlers():
    """What a plain Python process has, whatever the tests were started with; SIGURG only wakes the main thread."""
    interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)
    urgent = signal.signal(signal.SIGURG, lambda number, frame: None)
    yield
    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGURG, urgent)


class Rig:
    """An engine whose run a signal pauses: at once where it is inside a fetch, else after the step."""

    def __init__(self):
        self.seen, self.answers = [], []
        self.engine = Engine(lambda engine, batch: self.step(batch))
        self.step = self.seen.append
        self.otherwise = lambda: None  # what lets a fetch end

    def on_first(self, frame):
        engine = self.engine
        self.answers.append(inside_fetch(frame, engine))
        engine.interrupt()
        if self.answers[-1]:
            engine._position.pause(Events.GET_BATCH_STARTED)
            raise Paused
        self.otherwise()

    def run(self, data, **arguments):
        with StopSignals(self.on_first):
            self.engine.run(data, **arguments)


def once(function=lambda: signal.raise_signal(signal.SIGINT)):
    """Returns a function that calls this one the first time only."""
    calls = [function]
    return lambda: calls.pop()() if calls else None


def made_by(make):
    """Yields the items; each is there when the function has returned."""
    for item in ITEMS:
        make()
        yield item


def assert_left(rig, iterations):
    """The run has paused inside a fetch; with its data taken up anew it goes on, and sees every item once."""
    assert rig.answers == [True]
    assert rig.seen == ITEMS[:iterations]
    assert rig.engine.last_event_name == "INTERRUPT"
    rig.engine.set_data(ITEMS[iterations:])
    rig.engine.run(None)
    assert rig.seen == ITEMS
    assert rig.engine.state.iteration == len(ITEMS)


# A fetch that waits


def kill_from_a_thread(rig, ready):
    """Sends SIGINT to the main thread when `ready()` has returned."""

    def send():
        ready()
        main = threading.main_thread().ident
        signal.pthread_kill(main, signal.SIGINT)
        while not rig.answers:  # a signal that comes just before a call blocks is handled when the next one wakes it
            signal.pthread_kill(main, signal.SIGURG)

    threading.Thread(target=send, daemon=True).start()


def until_the_main_thread_is_in(name, called_from, local=None):
    while True:
        innermost = sys._current_frames()[threading.main_thread().ident]
        names = [frame.f_code.co_name for frame, _ in traceback.walk_stack(innermost)]
        if names[0] == name and called_from in names and (local is None or local in innermost.f_locals):
            return


def test_a_read_that_blocks_is_left():
    rig, (reader, writer), (told, tell) = Rig(), os.pipe(), os.pipe()
    kill_from_a_thread(rig, lambda: os.read(told, 1))
    rig.otherwise = lambda: os.write(writer, b"x" * 9)

    def read():
        if rig.engine.state.iteration == 2:
            os.write(tell, b"x")
            os.read(reader, 1)

    rig.run(made_by(read))
    assert_left(rig, iterations=2)
    for descriptor in (reader, writer, told, tell):
        os.close(descriptor)


@pytest.mark.parametrize("timeout", [None, 600])
def test_a_wait_for_a_queue_is_left(timeout):
    rig, ready = Rig(), queue.Queue()
    rig.otherwise = lambda: threading.Thread(target=ready.put, args=(None,)).start()
    for _ in range(3):
        ready.put(None)
    kill_from_a_thread(rig, lambda: until_the_main_thread_is_in("wait", called_from="get", local="gotit"))
    rig.run(made_by(lambda: ready.get(timeout=timeout)))
    assert_left(rig, iterations=3)


class Held:
    """Samples, one of which the worker gives only when something comes from a pipe."""

    def __init__(self, reader):
        self.reader = reader

    def __len__(self):
        return len(ITEMS)

    def __getitem__(self, index):
        if index == 3:
            os.read(self.reader, 1)
        return ITEMS[index]


@contextmanager
def held_loader(**arguments):
    reader, writer = os.pipe()
    loader = DataLoader(Held(reader), batch_size=None, multiprocessing_context="fork", **arguments)
    yield loader, lambda: os.write(writer, b"x")
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("timeout", [0, 600])
def test_the_wait_for_workers_is_left(workers, timeout):
    with held_loader(num_workers=workers, timeout=timeout) as (loader, release):
        rig = Rig()
        rig.otherwise = release
        kill_from_a_thread(rig, lambda: until_the_main_thread_is_in("select", called_from="_try_get_data"))
        rig.run(loader)
        release()
        done = rig.engine.state.iteration  # one that came before the batch that is held may have been waited for
        assert done <= 3
        assert_left(rig, done)


# A fetch that makes the batch


def collated(kill):
    return DataLoader(ITEMS, batch_size=None, collate_fn=lambda item: (kill(), item)[1])


class Retrying:
    """Samples that are read again whenever a read has failed."""

    def __init__(self, read):
        self.read = read

    def __len__(self):
        return len(ITEMS)

    def __getitem__(self, index):
        while True:
            try:
                self.read()
                return ITEMS[index]
            except Exception:  # noqa: BLE001 # as users write it
                continue


def retried(kill):
    return DataLoader(Retrying(kill), batch_size=None)


@pytest.mark.parametrize("data", [made_by, collated, retried])
@pytest.mark.parametrize("iterations", [0, 2])
def test_a_batch_being_made_is_left(data, iterations):
    rig, kill = Rig(), once()
    rig.run(data(lambda: kill() if rig.engine.state.iteration == iterations else None))
    assert_left(rig, iterations)


class Drawn:
    """Samples with a random number each."""

    def __len__(self):
        return len(ITEMS)

    def __getitem__(self, index):
        drawn = random.random()
        return ITEMS[index], drawn


def run_left_at(nth, workers):
    """Runs over data in an order of ours, and leaves a fetch at the `nth` line at which that is allowed, then takes them up anew.

    Returns:
        The batches, and whether there was such a line.
    """
    seen, lines, outside = [], 0, sys.gettrace()
    engine = Engine(lambda engine, batch: seen.append([part.tolist() for part in batch]))
    context = "fork" if workers else None
    data = ordered(DataLoader(Drawn(), 3, shuffle=True, num_workers=workers, multiprocessing_context=context), seed=1)
    data.clock = lambda: engine.state.iteration

    def trace(frame, event, argument):
        nonlocal lines
        if event == "line" and inside_fetch(frame, engine):
            lines += 1
            if lines == nth:
                engine._position.pause(Events.GET_BATCH_STARTED)
                raise Paused  # which ends the tracing
        return trace

    sys.settrace(trace)
    try:
        engine.run(data)
    finally:
        sys.settrace(outside)
    left = engine._position is not None
    if left:
        data.load_position(data.position())
        engine.set_data(data)
        engine.run(None)
    data.close()
    return seen, left


@pytest.mark.parametrize(("workers", "step"), [(0, 3), (1, 50)])  # all 200 lines hold too, and take four seconds
def test_wherever_a_fetch_is_left_no_batch_is_lost_doubled_or_drawn_otherwise(workers, step):
    expected, _ = run_left_at(None, workers)
    assert sorted(item for items, _ in expected for item in items) == ITEMS
    before = random.getstate()
    nth, left = 1, True
    while left:
        seen, left = run_left_at(nth, workers)
        assert seen == expected
        assert random.getstate() == before
        nth += step
    assert nth > 3 * step


# Elsewhere


def test_in_a_step_the_step_is_finished():
    rig, kill = Rig(), once()

    def step(item):
        kill()
        rig.seen.append(item)

    rig.step = step
    rig.run(ITEMS)
    assert rig.answers == [False]
    assert rig.seen == ITEMS[:1]
    rig.engine.run(None)
    assert rig.seen == ITEMS


@pytest.mark.parametrize("event", [Events.STARTED, Events.EPOCH_STARTED, Events.GET_BATCH_STARTED, Events.GET_BATCH_COMPLETED])
def test_in_a_handler_the_handler_is_finished(event):
    rig, done = Rig(), []
    kill = once(lambda: (signal.raise_signal(signal.SIGINT), done.append(event)))
    rig.engine.add_event_handler(event, kill)
    rig.run(ITEMS)
    assert rig.answers == [False]
    assert done == [event]
    rig.engine.run(None)
    assert rig.seen == ITEMS


def test_a_refill_is_finished():
    rig, kill = Rig(), once()
    rig.engine.add_event_handler(Events.DATALOADER_STOP_ITERATION, kill)
    rig.run(ITEMS, max_epochs=2)
    rig.engine.run(None)
    assert rig.answers == [False]
    assert rig.seen == ITEMS * 2


@pytest.mark.parametrize("place", ["open", "reopen"])
def test_opening_the_data_is_finished(place):
    class Opened(list):
        def __iter__(self):
            kill()
            return super().__iter__()

    rig, kill = Rig(), once()
    if place == "reopen":  # while GET_BATCH_STARTED is the last event
        rig.engine.add_event_handler(Events.GET_BATCH_STARTED(once=1), lambda: rig.engine.set_data(Opened(ITEMS[1:])))
    rig.run(ITEMS if place == "reopen" else Opened(ITEMS))
    rig.engine.run(None)
    assert rig.answers == [False]
    assert rig.seen == ITEMS


def test_of_two_engines_the_inner_one_is_asked():
    outer, inner, kill = Rig(), Rig(), once()
    frames = []

    def ask(frame):
        frames.append(inside_fetch(frame, outer.engine))
        inner.on_first(frame)

    outer.engine.add_event_handler(Events.GET_BATCH_STARTED(once=2), lambda: inner.engine.run(made_by(kill)))
    with StopSignals(ask):
        outer.engine.run(ITEMS)
    assert frames == [False]
    assert_left(inner, iterations=0)
    assert outer.seen == ITEMS


def test_an_engine_inside_the_data_is_not_the_one_that_fetches():
    rig = Rig()
    rollout = Engine(lambda engine, batch: None)
    kill = once()
    rig.run(made_by(lambda: rollout.run(made_by(kill))))
    rig.engine.run(None)
    assert rig.answers == [False]
    assert rig.seen == ITEMS


def test_the_frame_of_the_loop_itself_is_not_left():
    answers = []

    def step(engine, batch):
        engine.last_event_name = Events.GET_BATCH_STARTED
        answers.append(inside_fetch(sys._getframe(1), engine))

    Engine(step).run([0])
    assert answers == [False]


def test_without_a_frame_or_a_run_nothing_is_fetched():
    engine = Engine(lambda engine, batch: None)
    engine.last_event_name = Events.GET_BATCH_STARTED
    assert not inside_fetch(None, engine)
    assert not inside_fetch(sys._getframe(), engine)


def frames_named(places, innermost):
    """Returns a function that calls `innermost` through functions of these names in modules of these names, outermost first."""
    call = innermost
    for place in reversed(places):
        module, name, *early = place.split()
        namespace = {"__name__": module, "call": call}
        exec(f"def {name}():\n    {'pass' if early else 'gotit = False'}\n    call()", namespace)
        call = namespace[name]
    return call


LOADER = [f"torch.utils.data.dataloader {name}" for name in ("__next__", "_next_data", "_get_data", "_try_get_data")]
WAIT = ["multiprocessing.queues get", "multiprocessing.connection poll", "multiprocessing.connection wait", "selectors select"]


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ([*LOADER, *WAIT], True),
        ([*LOADER, *WAIT[:1]], False),
        ([*LOADER, *WAIT[:1], "multiprocessing.connection recv_bytes"], False),
        ([*LOADER, "queue get", "threading wait"], True),
        ([*LOADER, "queue get", "threading wait early"], False),
        ([*LOADER, "queue get", "threading wait", "threading _acquire_restore"], False),
        ([*LOADER, "tempfile mktemp"], True),
        ([*LOADER[:2], "torch.utils.data.dataloader _process_data", "user worker", "threading wait"], True),
        ([*LOADER[:2], "torch.utils.data._utils.fetch fetch", "user __getitem__", *LOADER, *WAIT], True),
        ([*LOADER[:1], "torch.autograd.profiler __exit__"], False),
        (["torchdata.stateful_dataloader.stateful_dataloader _next_data", "user __getitem__"], True),
        (["framework.data.base __next__", *LOADER, *WAIT], True),
        (["framework.data.base __next__", "user __next__"], True),
        (["framework.data.base __next__"], False),
        (["framework.data.seeded __getitems__", "user __getitem__"], True),
        (["framework.data.streams _put_back", "random setstate"], False),
        (["framework.data.seeded __getitems__", "torch.random set_rng_state"], False),
        (["framework.data.replay __next__", "framework.seeding __exit__"], False),
        (["framework.backends.plain move", "user to"], True),
        (["framework.engine.event_source _fire", "user handler"], False),
        (["framework.module.run validate", "user evaluation_step"], False),
    ],
)
def test_the_frames_decide(places, expected):
    rig = Rig()
    rig.run(made_by(once(frames_named(places, partial(signal.raise_signal, signal.SIGINT)))))
    assert rig.answers == [expected]
