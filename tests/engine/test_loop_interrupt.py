import gc

import pytest

from framework.engine import Engine, Events
from framework.engine.loop import EpochTerminated, Paused, Terminated

contract = pytest.mark.contract

EVERYWHERE = [
    Events.STARTED,
    Events.EPOCH_STARTED,
    Events.GET_BATCH_STARTED,
    Events.DATALOADER_STOP_ITERATION,
    Events.GET_BATCH_COMPLETED,
    Events.ITERATION_STARTED,
    Events.ITERATION_COMPLETED,
    Events.EPOCH_COMPLETED,
]


def batches_and_trace(traced):
    """Returns a traced engine and its trace, in which a step is the batch that it got."""
    engine, trace = traced(lambda engine, batch: trace.append(batch))
    return engine, trace


@contract(72)
@pytest.mark.parametrize("event", EVERYWHERE)
def test_the_run_returns_after_the_event(traced, at, event):
    engine, trace = traced()
    at(engine, event, Engine.interrupt)
    asked = []
    engine.add_event_handler(Events.INTERRUPT, lambda engine: asked.append(engine.should_interrupt))

    state = engine.run(range(2), epoch_length=3)

    assert state is engine.state
    assert trace[trace.index(event.name) :] == [event.name, "INTERRUPT"]
    assert asked == [True]
    assert engine.should_interrupt is False


@contract(72)
@pytest.mark.parametrize("event", EVERYWHERE)
@pytest.mark.parametrize("nth", [1, 2, 4, 6])
@pytest.mark.parametrize(
    "arguments", [{"max_epochs": 3, "epoch_length": 4}, {"max_iters": 10, "epoch_length": 4}, {"max_epochs": 4}]
)
def test_the_next_run_goes_on_exactly_there(traced, at, unsized, event, nth, arguments):
    engine, trace = batches_and_trace(traced)
    plain, expected = batches_and_trace(traced)
    plain.run(unsized(3), **arguments)
    at(engine, event, Engine.interrupt, nth)
    data = unsized(3)

    engine.run(data, **arguments)
    if "INTERRUPT" in trace:
        trace.remove("INTERRUPT")
        engine.run(data, **arguments)

    assert trace == expected
    assert engine.state_dict() == plain.state_dict()


@contract(72)
@pytest.mark.parametrize("data", [range(3), None])
def test_interrupted_at_every_event_it_comes_to_the_same_end(traced, data):
    engine, trace = batches_and_trace(traced)
    plain, expected = batches_and_trace(traced)
    arguments = {"max_epochs": 3, "epoch_length": 4}
    plain.run(data, **arguments)
    for event in EVERYWHERE:
        engine.add_event_handler(event, lambda engine: engine.interrupt())

    runs = 0
    while "COMPLETED" not in trace:
        engine.run(data, **arguments)
        runs += 1

    assert runs == trace.count("INTERRUPT") + 1
    assert runs == 1 + sum(name in {event.name for event in EVERYWHERE} for name in expected)
    assert [name for name in trace if name != "INTERRUPT"] == expected


@contract(72)
@pytest.mark.parametrize("nth", [1, 2, 4, 6])
def test_interrupted_in_the_last_epoch(engine, at, nth):
    data = range(6)
    at(engine, Events.ITERATION_COMPLETED, Engine.interrupt, nth)
    assert engine.run(data).iteration == nth
    assert engine.run(data).iteration == 6


@contract(72)
@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("event", [Events.ITERATION_COMPLETED, Events.TERMINATE_SINGLE_EPOCH])
def test_an_interruption_waits_for_the_end_of_the_epoch_and_does_not_change_it(traced, at, skip, event):
    engine, trace = traced()
    at(engine, Events.ITERATION_COMPLETED, lambda engine: engine.terminate_epoch(skip), 2)
    at(engine, event, Engine.interrupt, 2 if event is Events.ITERATION_COMPLETED else 1)
    data = range(4)
    engine.run(data, max_epochs=2)
    assert trace[-2:] == ["TERMINATE_SINGLE_EPOCH", "INTERRUPT"]

    trace.clear()
    engine.run(data)
    assert trace[: 2 - skip] == (["EPOCH_STARTED"] if skip else ["EPOCH_COMPLETED", "EPOCH_STARTED"])
    assert trace.count("ITERATION_COMPLETED") == 4


@contract(72)
def test_a_termination_comes_before_an_interruption(traced, at):
    engine, trace = traced()
    at(engine, Events.ITERATION_COMPLETED, Engine.interrupt)
    at(engine, Events.ITERATION_COMPLETED, Engine.terminate)
    engine.run(range(3))
    assert trace[-3:] == ["ITERATION_COMPLETED", "TERMINATE", "COMPLETED"]


@contract(72)
def test_a_higher_target_may_be_given_on_the_way(engine, at):
    data = range(3)
    at(engine, Events.ITERATION_COMPLETED, Engine.interrupt, 2)
    engine.run(data, max_epochs=2)
    assert engine.run(data, max_epochs=4).iteration == 12


@contract(72)
@pytest.mark.parametrize("event", [Events.EPOCH_COMPLETED, Events.ITERATION_COMPLETED])
def test_data_that_a_handler_put_in_place_goes_on_too(event, at):
    batches, engine = [], Engine(lambda engine, batch: batches.append(batch))
    data = iter(range(3))
    at(engine, Events.DATALOADER_STOP_ITERATION, lambda engine: setattr(engine.state, "dataloader", iter(range(10, 16))))
    at(engine, event, Engine.interrupt, 2 if event is Events.EPOCH_COMPLETED else 4)
    engine.run(data, max_epochs=3)
    engine.run(data, max_epochs=3)
    assert batches == [0, 1, 2, *range(10, 16)]


@contract(73)
@pytest.mark.parametrize("arguments", [{"max_epochs": 3}, {"max_iters": 12}])
def test_without_a_target_the_next_run_starts_from_zero(traced, at, arguments):
    engine, trace = batches_and_trace(traced)
    at(engine, Events.ITERATION_COMPLETED, Engine.interrupt, 6)
    data = range(4)
    engine.run(data, **arguments)
    trace.clear()

    engine.state.max_epochs = engine.state.max_iters = None
    state = engine.run(data, max_epochs=2)

    assert (state.epoch, state.iteration) == (2, 8)
    assert trace[0] == "STARTED"
    assert [batch for batch in trace if isinstance(batch, int)] == [0, 1, 2, 3] * 2


@contract(73)
def test_loading_a_state_drops_the_interruption(engine, at):
    at(engine, Events.ITERATION_COMPLETED, Engine.interrupt, 2)
    engine.run(range(4))
    engine.load_state_dict({"epoch_length": 4, "max_epochs": 3, "iteration": 8})
    assert engine.run(range(4)).iteration == 12


@contract("a", 72)
@pytest.mark.parametrize("event", [Events.ITERATION_COMPLETED, Events.EPOCH_COMPLETED])
def test_an_exception_of_an_interrupt_handler_ends_the_run(traced, at, event):
    def burst(engine):
        raise RuntimeError("boom")

    engine, trace = traced()
    at(engine, event, Engine.interrupt)
    at(engine, Events.INTERRUPT, burst)
    data = range(3)
    with pytest.raises(RuntimeError, match="boom"):
        engine.run(data, max_epochs=2)
    trace.clear()

    engine.run(data, max_epochs=2)

    assert trace[:2] == ["STARTED", "EPOCH_STARTED"]
    assert trace.count("EPOCH_COMPLETED") == 1


@contract("g")
def test_abandoning_an_interrupted_run_troubles_nobody(at):
    caught = []
    engine = Engine(lambda engine, batch: batch)
    engine.add_event_handler(Events.EXCEPTION_RAISED, lambda e: caught.append(e))
    at(engine, Events.ITERATION_COMPLETED, Engine.interrupt, 2)
    engine.run(range(4))
    del engine
    gc.collect()
    assert caught == []


@contract("h")
@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (Events.STARTED, [10, 11, 12, 10]),
        (Events.GET_BATCH_STARTED, [10, 11, 12, 10]),
        (Events.GET_BATCH_COMPLETED, [0, 10, 11, 12]),
        (Events.ITERATION_STARTED, [0, 10, 11, 12]),
        (Events.ITERATION_COMPLETED, [0, 10, 11, 12]),
    ],
)
def test_new_data_is_taken_and_said(at, event, expected):
    batches, engine = [], Engine(lambda engine, batch: batches.append(batch))
    at(engine, event, Engine.interrupt)
    engine.run(range(4))
    with pytest.warns(UserWarning, match=r"goes on with other data than it had \(list now, range before\)"):
        engine.run([10, 11, 12])
    assert batches == expected


@contract("h")
@pytest.mark.parametrize("again", [True, False])
def test_the_same_data_or_none_goes_on_in_silence(at, again):
    batches, engine = [], Engine(lambda engine, batch: batches.append(batch))
    at(engine, Events.ITERATION_COMPLETED, Engine.interrupt)
    data = range(4)
    engine.run(data)
    engine.run(data if again else None)
    assert batches == [0, 1, 2, 3]


def test_an_interruption_asked_for_when_the_run_is_over_is_forgotten():
    engine = Engine(lambda engine, batch: batch)
    engine.add_event_handler(Events.COMPLETED, lambda engine: engine.interrupt())
    engine.run([0])
    assert engine.should_interrupt is False
    assert engine.run([0], max_epochs=2).iteration == 2


class Retrying:
    """Batches 0, 1, 2; a fetch that fails is tried again."""

    def __init__(self, read):
        self._left, self._read = [2, 1, 0], read

    def __iter__(self):
        return self

    def __next__(self):
        while self._left:
            try:
                self._read()
                return self._left.pop()
            except Exception:  # noqa: BLE001 # as users write it
                continue
        raise StopIteration


@pytest.mark.parametrize(
    ("request_", "event"), [(Paused, "INTERRUPT"), (Terminated, "TERMINATE"), (EpochTerminated, "TERMINATE_SINGLE_EPOCH")]
)
def test_an_except_exception_in_the_data_does_not_swallow_a_request_and_no_handler_takes_it_for_an_error(request_, event):
    batches, fired, caught = [], [], []
    engine = Engine(lambda engine, batch: batches.append(batch))
    for each in (Events.INTERRUPT, Events.TERMINATE, Events.TERMINATE_SINGLE_EPOCH):
        engine.add_event_handler(each, fired.append, each.name)
    engine.add_event_handler(Events.EXCEPTION_RAISED, lambda error: caught.append(error))
    requests = [request_]

    def read():
        if engine.state.iteration == 2 and requests:
            if request_ is Paused:
                engine._position.pause(Events.GET_BATCH_STARTED)
            raise requests.pop()

    engine.run(Retrying(read), epoch_length=3)
    assert (batches, fired, caught) == ([0, 1], [event], [])
    assert engine.state.exception is None
    if request_ is Paused:
        engine.run(None)
        assert batches == [0, 1, 2]
