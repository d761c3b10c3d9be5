import pytest

from framework.engine import Engine, Events

contract = pytest.mark.contract

FETCH = ["GET_BATCH_STARTED", "GET_BATCH_COMPLETED"]
REFETCH = ["GET_BATCH_STARTED", "DATALOADER_STOP_ITERATION", "GET_BATCH_COMPLETED"]
WORK = ["ITERATION_STARTED", "step", "ITERATION_COMPLETED"]


@contract(44)
def test_the_order_of_events(traced):
    engine, trace = traced()
    engine.run(range(3), max_epochs=2, epoch_length=2)
    assert trace == [
        "STARTED",
        *("EPOCH_STARTED", *FETCH, *WORK, *FETCH, *WORK, "EPOCH_COMPLETED"),
        *("EPOCH_STARTED", *FETCH, *WORK, *REFETCH, *WORK, "EPOCH_COMPLETED"),
        "COMPLETED",
    ]


@contract(44)
def test_the_counters_at_each_event(engine):
    seen = []
    for event in Events:
        engine.add_event_handler(event, lambda engine: seen.append((engine.state.epoch, engine.state.iteration)))
    engine.run(range(2), max_epochs=2)
    assert seen == [
        (0, 0),
        *((1, 0), (1, 0), (1, 0), (1, 1), (1, 1), (1, 1), (1, 1), (1, 2), (1, 2), (1, 2)),
        *((2, 2), (2, 2), (2, 2), (2, 2), (2, 3), (2, 3), (2, 3), (2, 3), (2, 4), (2, 4), (2, 4)),
        (2, 4),
    ]


@contract(42)
def test_without_data_the_step_gets_none_and_nothing_is_fetched(traced):
    batches = []
    engine, trace = traced(lambda engine, batch: batches.append(batch))
    state = engine.run(max_epochs=2, epoch_length=2)
    assert trace == ["STARTED", *["EPOCH_STARTED", *WORK, *WORK, "EPOCH_COMPLETED"] * 2, "COMPLETED"]
    assert batches == [None] * 4
    assert state.dataloader is None


@contract(51)
@pytest.mark.parametrize("event", [Events.GET_BATCH_COMPLETED, Events.ITERATION_STARTED])
def test_the_batch_may_be_replaced_before_the_step(engine, event):
    def double(engine):
        engine.state.batch *= 2

    outputs = []
    engine.add_event_handler(event, double)
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: outputs.append(engine.state.output))
    engine.run([1, 2, 3])
    assert outputs == [2, 4, 6]


@contract("j")
def test_going_on_inside_an_epoch_runs_the_rest_of_it_and_warns(traced):
    batches = []
    engine, trace = traced(lambda engine, batch: batches.append(batch))
    engine.load_state_dict({"epoch_length": 4, "max_epochs": 3, "iteration": 5})

    with pytest.warns(UserWarning, match="goes on at iteration 5, 1 iterations into an epoch, .* Use DeterministicEngine"):
        state = engine.run(range(4))

    assert (state.epoch, state.iteration) == (3, 12)
    assert trace.count("EPOCH_STARTED") == trace.count("EPOCH_COMPLETED") == 2
    assert batches == [0, 1, 2, 3, 0, 1, 2]


@contract("j")
@pytest.mark.parametrize("data", [range(4), None])
def test_going_on_between_epochs_or_without_data_does_not_warn(engine, data):
    engine.load_state_dict({"epoch_length": 4, "max_epochs": 3, "iteration": 4 if data else 5})
    assert engine.run(data).iteration == 12


@contract("j", 72)
def test_interrupted_at_its_start_it_still_runs_the_rest_of_the_epoch(engine, at):
    data = range(4)
    engine.load_state_dict({"epoch_length": 4, "max_epochs": 3, "iteration": 5})
    at(engine, Events.STARTED, Engine.interrupt)
    engine.run(data)
    with pytest.warns(UserWarning, match="1 iterations into an epoch"):
        assert engine.run(data).iteration == 12


def test_no_epochs_at_all_are_a_start_and_an_end(traced):
    engine, trace = traced()
    engine.run(range(3), max_epochs=0)
    assert trace == ["STARTED", "COMPLETED"]


def test_a_target_lowered_on_the_way_ends_the_run(traced, at):
    engine, trace = traced()
    at(engine, Events.EPOCH_STARTED, lambda engine: setattr(engine.state, "max_iters", 1), 2)
    assert engine.run(range(3), max_iters=7).iteration == 3
    assert trace[-3:] == ["EPOCH_STARTED", "TERMINATE", "COMPLETED"]
