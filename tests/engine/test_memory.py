"""What is alive, and for how long. The garbage collector is off: reference counting alone must do."""

import gc
from weakref import WeakSet, ref

import pytest
import torch
from torch.utils.data import DataLoader

from framework.engine import Engine, Events

contract = pytest.mark.contract


@pytest.fixture(autouse=True)
def no_garbage_collector():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


class Thing:
    """A batch or an output that can be watched."""


class Watched:
    """Data that keeps nothing of the batches it gives, and notes how many are alive when the next one is wanted."""

    def __init__(self, length):
        self.alive, self.most, self._length = WeakSet(), 0, length

    def __len__(self):
        return self._length

    def __iter__(self):
        return map(self._make, range(self._length))

    def _make(self, _):
        thing = Thing()
        self.alive.add(thing)
        self.most = max(self.most, len(self.alive))
        return thing


def take_engine(engine):
    pass


def take_nothing():
    pass


@contract(54)
@pytest.mark.parametrize("handler", [None, take_engine, take_nothing])
def test_one_batch_is_alive_at_a_time(handler):
    data, engine = Watched(4), Engine(lambda engine, batch: None)
    if handler is not None:
        for event in Events:
            engine.add_event_handler(event, handler)
    engine.run(data, max_epochs=2, epoch_length=3)
    assert data.most == 1


@contract(54)
@pytest.mark.parametrize("event", [Events.GET_BATCH_STARTED, Events.GET_BATCH_COMPLETED, Events.ITERATION_STARTED])
def test_one_batch_is_alive_at_a_time_after_an_interruption(at, event):
    data, engine = Watched(4), Engine(lambda engine, batch: None)
    at(engine, event, Engine.interrupt, 2)
    engine.run(data)
    engine.run(data)
    assert data.most == 1


@contract(54)
def test_one_output_is_alive_at_a_time():
    outputs, most = WeakSet(), []

    def step(engine, batch):
        output = Thing()
        outputs.add(output)
        most.append(len(outputs))
        return output

    Engine(step).run(range(4), max_epochs=2)
    assert most == [1] * 8


@contract(54)
def test_the_last_batch_is_dropped_before_the_next_is_wanted(engine):
    seen = []
    engine.add_event_handler(Events.GET_BATCH_STARTED, lambda engine: seen.append(engine.state.batch))
    engine.run([1, 2, 3])
    assert seen == [None] * 3


def interrupt_once(engine):
    if engine.state.iteration == 2:
        engine.interrupt()


RUNS = {
    "completed": lambda engine, data: engine.run(data, max_epochs=2),
    "by iterations": lambda engine, data: engine.run(data, max_iters=5),
    "terminated": lambda engine, data: engine.on(Events.ITERATION_COMPLETED)(Engine.terminate) and engine.run(data),
    "epoch terminated": lambda engine, data: engine.on(Events.ITERATION_COMPLETED)(Engine.terminate_epoch) and engine.run(data),
    "interrupted": lambda engine, data: engine.on(Events.ITERATION_COMPLETED)(interrupt_once) and engine.run(data),
    "without data": lambda engine, data: engine.run(epoch_length=3),
}


@contract(103)
@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
@pytest.mark.parametrize(
    "handler", [None, take_engine, take_nothing, lambda engine, more: None, lambda more: None], ids=["none", "e", "0", "e+1", "1"]
)
@pytest.mark.parametrize("event", [Events.ITERATION_STARTED, Events.ITERATION_STARTED(once=2), Events.ITERATION_STARTED(every=2)])
def test_an_engine_is_freed_with_its_last_reference(run, handler, event):
    engine = Engine(lambda engine, batch: None)
    if handler is not None:
        args = (1,) if "more" in handler.__code__.co_varnames else ()
        handle = engine.add_event_handler(event, handler, *args)
        assert handle.engine() is engine
    run(engine, Watched(3))
    watch = ref(engine)

    del engine

    assert watch() is None


@contract(103)
def test_an_engine_that_an_exception_left_is_freed_with_the_exception():
    def step(engine, batch):
        raise ValueError("boom")

    engine = Engine(step)
    watch = ref(engine)
    try:
        engine.run(range(3))
    except ValueError:
        del engine
    assert watch() is None


@contract(103)
def test_the_batch_is_freed_with_the_engine(engine):
    data = Watched(3)
    engine.run(data)
    assert len(data.alive) == 1
    engine.state.batch = engine.state.output = None
    assert len(data.alive) == 0


@contract(104)
def test_a_filtered_handler_and_a_loader_leave_no_garbage():
    loader = DataLoader(torch.arange(6), batch_size=2)
    engine = Engine(lambda engine, batch: batch.sum())
    engine.add_event_handler(Events.ITERATION_COMPLETED(every=2), take_engine)
    engine.add_event_handler(Events.EPOCH_COMPLETED(event_filter=lambda engine, count: True), take_nothing)
    gc.collect()
    engine.run(loader, max_epochs=2)
    watch = ref(engine)
    del engine, loader

    assert watch() is None
    gc.collect()
    assert gc.garbage == []
