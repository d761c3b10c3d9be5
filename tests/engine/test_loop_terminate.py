from weakref import ref

import pytest

from framework.engine import Engine, Events

contract = pytest.mark.contract

BEFORE_BATCHES = [Events.STARTED, Events.EPOCH_STARTED]
IN_ITERATION = [
    Events.GET_BATCH_STARTED,
    Events.DATALOADER_STOP_ITERATION,
    Events.GET_BATCH_COMPLETED,
    Events.ITERATION_STARTED,
    Events.ITERATION_COMPLETED,
]


def terminate_epoch(engine):
    engine.terminate_epoch()


def terminate_epoch_skipping(engine):
    engine.terminate_epoch(skip_epoch_completed=True)


@contract(65)
@pytest.mark.parametrize(("skip", "asked"), [(False, True), (True, "skip_completed")])
def test_the_request_can_be_read_until_the_next_run(engine, at, skip, asked):
    engine.terminate(skip_completed=skip)
    assert engine.should_terminate == asked
    assert engine.run(range(3)).iteration == 3
    assert engine.should_terminate is False

    at(engine, Events.ITERATION_COMPLETED, lambda engine: engine.terminate(skip), 2)
    engine.run(range(3))
    assert engine.should_terminate == asked
    engine.run(range(3))
    assert engine.should_terminate is False


@contract(65)
def test_the_reason_is_kept_until_the_next_run(engine, at):
    at(engine, Events.ITERATION_COMPLETED, lambda engine: engine.terminate(reason="solved"))
    engine.run(range(3))
    assert engine.terminate_reason == "solved"
    engine.run(range(3))
    assert engine.terminate_reason is None


@contract(66)
@pytest.mark.parametrize("event", [*BEFORE_BATCHES, *IN_ITERATION, Events.EPOCH_COMPLETED])
@pytest.mark.parametrize("skip", [False, True])
def test_nothing_fires_between_the_request_and_the_end(traced, at, event, skip):
    engine, trace = traced()
    at(engine, event, lambda engine: engine.terminate(skip))
    caught = []
    engine.add_event_handler(Events.EXCEPTION_RAISED, caught.append)

    engine.run(range(2), max_epochs=2, epoch_length=3)

    asked = trace.index(event.name)
    assert trace[asked + 1 :] == ["TERMINATE"] if skip else ["TERMINATE", "COMPLETED"]
    assert trace.count("EPOCH_COMPLETED") == (event is Events.EPOCH_COMPLETED)
    assert caught == []


@contract(66)
def test_asked_in_the_step_the_iteration_is_completed(traced):
    engine, trace = traced(lambda engine, batch: engine.terminate())
    engine.run(range(2))
    assert trace[-4:] == ["step", "ITERATION_COMPLETED", "TERMINATE", "COMPLETED"]


@contract(66)
def test_the_other_handlers_of_the_event_still_run(engine):
    ran = []
    engine.add_event_handler(Events.ITERATION_STARTED, Engine.terminate)
    engine.add_event_handler(Events.ITERATION_STARTED, ran.append, "ran")
    engine.run(range(2))
    assert ran == ["ran"]


@contract(67)
def test_the_counters_stay_and_the_iterator_goes(at):
    opened = []

    class Data:
        def __iter__(self):
            opened.append("opened")
            return iter(range(10))

    engine = Engine(lambda engine, batch: batch)
    at(engine, Events.ITERATION_COMPLETED, Engine.terminate, 13)
    state = engine.run(Data(), max_epochs=5, epoch_length=10)
    assert (state.epoch, state.iteration) == (2, 13)
    assert opened == ["opened"] * 2
    engine.add_event_handler(Events.ITERATION_STARTED(once=14), lambda engine: opened.append(engine.state.batch))
    engine.run(Data(), max_epochs=5)
    assert opened[2:4] == ["opened", 0]


@contract(67)
@pytest.mark.parametrize("event", [Events.TERMINATE, Events.COMPLETED])
def test_the_iterator_is_gone_before_the_end_is_told(engine, at, event):
    class Iterator:
        def __next__(self):
            return 0

    class Data:
        def __iter__(self):
            iterator = Iterator()
            watch.append(ref(iterator))
            return iterator

    watch, gone = [], []
    at(engine, Events.ITERATION_COMPLETED, Engine.terminate, 3)
    engine.add_event_handler(event, lambda: gone.append(watch[0]() is None))
    engine.run(Data(), epoch_length=5)
    assert gone == [True]


@contract(68)
@pytest.mark.parametrize(
    ("event", "nth", "stopped", "ended"),
    [
        (Events.ITERATION_COMPLETED, 13, (2, 13), (5, 43)),
        (Events.EPOCH_STARTED, 3, (3, 20), (5, 40)),
        (Events.EPOCH_COMPLETED, 3, (3, 30), (5, 50)),
        (Events.STARTED, 1, (0, 0), (5, 50)),
    ],
)
def test_the_next_run_goes_on_with_the_next_epoch(engine, at, event, nth, stopped, ended):
    batches = []
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: batches.append(engine.state.output))
    at(engine, event, Engine.terminate, nth)
    state = engine.run(range(10), max_epochs=5)
    assert (state.epoch, state.iteration) == stopped

    batches.clear()
    state = engine.run(range(10), max_epochs=5)

    assert (state.epoch, state.iteration) == ended
    assert batches == list(range(10)) * (5 - stopped[0])


@contract(69)
def test_stopped_in_the_last_epoch_the_next_run_starts_from_zero(engine, at):
    at(engine, Events.ITERATION_COMPLETED, Engine.terminate, 5)
    assert engine.run(range(4), max_epochs=2).iteration == 5
    assert engine.run(range(4), max_epochs=2).iteration == 8


@contract(70)
@pytest.mark.parametrize("event", IN_ITERATION)
@pytest.mark.parametrize("skip", [False, True])
def test_the_epoch_ends_and_the_next_one_has_fresh_batches(traced, at, event, skip):
    batches, wanted = [], []
    engine, trace = traced(lambda engine, batch: batches.append(batch))
    at(engine, event, lambda engine: engine.terminate_epoch(skip))
    engine.add_event_handler(Events.EPOCH_STARTED, lambda engine: wanted.append(engine.should_terminate_single_epoch))
    engine.add_event_handler(Events.EPOCH_COMPLETED, lambda engine: wanted.append(engine.should_terminate_single_epoch))
    engine.add_event_handler(
        Events.TERMINATE_SINGLE_EPOCH, lambda engine: wanted.append(("ended", engine.should_terminate_single_epoch))
    )

    engine.run(range(4), max_epochs=2, epoch_length=5)

    asked = trace.index(event.name)
    end = ["TERMINATE_SINGLE_EPOCH"] if skip else ["TERMINATE_SINGLE_EPOCH", "EPOCH_COMPLETED"]
    assert trace[asked + 1 : asked + 4 + len(end)] == [*end, "EPOCH_STARTED", "GET_BATCH_STARTED", "GET_BATCH_COMPLETED"]
    assert batches[-5:] == [0, 1, 2, 3, 0]
    assert wanted == (
        [False, ("ended", "skip_epoch_completed"), False, False] if skip else [False, ("ended", True), True, False, False]
    )


@contract(70)
@pytest.mark.parametrize(
    ("event", "nth", "count"),
    [
        (Events.GET_BATCH_STARTED, 1, 0),
        (Events.GET_BATCH_STARTED, 3, 2),
        (Events.GET_BATCH_COMPLETED, 3, 2),
        (Events.ITERATION_STARTED, 3, 3),
        (Events.ITERATION_COMPLETED, 3, 3),
        (Events.ITERATION_COMPLETED, 7, 3),
    ],
)
def test_the_iterations_of_the_ended_epoch_are_told(engine, at, event, nth, count):
    told = []
    at(engine, event, Engine.terminate_epoch, nth)
    engine.add_event_handler(Events.TERMINATE_SINGLE_EPOCH, lambda iter_counter: told.append(iter_counter))
    engine.run(range(4), max_epochs=2)
    assert told == [count]


@contract(70)
def test_asked_in_the_step_the_iteration_of_the_ended_epoch_is_completed(traced):
    engine, trace = traced(lambda engine, batch: engine.terminate_epoch())
    state = engine.run(range(3), max_epochs=2)
    assert state.iteration == 2
    assert trace[-5:] == ["step", "ITERATION_COMPLETED", "TERMINATE_SINGLE_EPOCH", "EPOCH_COMPLETED", "COMPLETED"]


@contract(70)
def test_the_whole_run_may_be_ended_at_the_end_of_an_epoch(traced):
    engine, trace = traced(lambda engine, batch: engine.terminate_epoch())
    engine.add_event_handler(Events.TERMINATE_SINGLE_EPOCH, lambda engine: engine.terminate())
    engine.run(range(3), max_epochs=2)
    assert trace[-3:] == ["TERMINATE_SINGLE_EPOCH", "TERMINATE", "COMPLETED"]


@contract(71)
@pytest.mark.parametrize("request_", [terminate_epoch, terminate_epoch_skipping])
def test_at_the_end_of_an_epoch_it_has_no_effect_but_is_cleared(traced, request_):
    engine, trace = traced()
    plain, expected = traced()
    plain.run(range(2), max_epochs=3)
    wanted = []
    engine.add_event_handler(Events.EPOCH_COMPLETED, request_)
    engine.add_event_handler(Events.EPOCH_STARTED, lambda engine: wanted.append(engine.should_terminate_single_epoch))
    engine.run(range(2), max_epochs=3)
    assert trace == expected
    assert wanted == [False] * 3


@contract(71)
@pytest.mark.parametrize("event", BEFORE_BATCHES)
def test_before_the_first_batch_it_is_refused(engine, event):
    engine.add_event_handler(event, terminate_epoch)
    with pytest.raises(RuntimeError, match=rf"terminate_epoch\(\) was called in {event.name}, before the epoch's first batch"):
        engine.run(range(2))
