import logging
import time
from unittest.mock import MagicMock

import pytest
import torch

from framework.engine import Engine, Events, State

contract = pytest.mark.contract


class Uninterruptible(Engine):
    interrupt_resume_enabled = False


@contract(1)
def test_an_engine_needs_a_process_function():
    with pytest.raises(ValueError, match="Engine must be given a processing function in order to run"):
        Engine(None)


@contract(2)
@pytest.mark.parametrize("function", [lambda: None, lambda engine: None, lambda engine, batch, more: None])
def test_the_process_function_takes_the_engine_and_the_batch(function):
    with pytest.raises(ValueError, match=r"Error adding .+ takes parameters .+ but will be called with \[engine, batch\]"):
        Engine(function)


@contract(2)
@pytest.mark.parametrize("function", [MagicMock(), lambda engine, batch, more=1: None, lambda *args: None])
def test_a_process_function_that_can_take_both_is_accepted(function):
    assert Engine(function).state.iteration == 0


@contract(3)
@pytest.mark.parametrize("engine_class", [Engine, Uninterruptible])
def test_a_fresh_engine(engine_class):
    engine = engine_class(lambda engine, batch: None)

    assert isinstance(engine.state, State)
    assert (engine.state.iteration, engine.state.epoch) == (0, 0)
    assert engine.state.max_epochs is engine.state.max_iters is engine.state.epoch_length is None
    assert not engine.should_terminate
    assert not engine.should_terminate_single_epoch
    assert not engine.should_interrupt
    assert engine.last_event_name is None
    assert isinstance(engine.logger, logging.Logger)
    assert engine.logger.name.endswith(engine_class.__name__)
    assert engine.state_dict_user_keys == []
    engine.state_dict_user_keys.append("alpha")


@contract(3)
def test_the_user_keys_belong_to_one_engine(engine):
    engine.state_dict_user_keys.append("alpha")
    assert Engine(lambda engine, batch: None).state_dict_user_keys == []


@contract(6)
def test_run_may_be_overridden():
    class Evaluator(Engine):
        def run(self, data, **kwargs):
            self.fire_event(Events.STARTED)
            return super().run(data, **kwargs)

    ran, engine = [], Evaluator(lambda engine, batch: batch)
    engine.add_event_handler(Events.STARTED, ran.append, "started")
    assert engine.run([3], max_epochs=2).output == 3
    assert ran == ["started", "started"]


@contract(7)
def test_interrupting_can_be_forbidden():
    engine = Uninterruptible(lambda engine, batch: engine.interrupt())
    with pytest.raises(RuntimeError, match="Engine 'interrupt/resume' feature is disabled"):
        engine.interrupt()
    with pytest.raises(RuntimeError, match="Engine 'interrupt/resume' feature is disabled"):
        engine.run([0])


@contract(7)
def test_a_run_is_the_same_where_interrupting_is_forbidden(traced, at):
    traces = []
    for engine_class in (Engine, Uninterruptible):
        engine, trace = traced(engine_class=engine_class)
        at(engine, Events.ITERATION_STARTED, Engine.terminate_epoch, 2)
        at(engine, Events.GET_BATCH_COMPLETED, Engine.terminate, 6)
        engine.run(range(3), max_epochs=2, epoch_length=4)
        engine.run(range(3), max_epochs=4)
        traces.append((trace, engine.state_dict()))
    assert traces[0] == traces[1]


@contract(40)
def test_run_returns_the_engines_own_state(engine):
    assert engine.run([0]) is engine.state


@contract(40)
def test_the_arguments_of_run_by_position(engine):
    torch.manual_seed(0)
    state = engine.run(range(3), 2, 4, 7)
    assert (state.max_epochs, state.epoch_length, state.seed, state.iteration) == (2, 4, 7, 8)
    with pytest.raises(TypeError, match="positional argument"):
        engine.run(range(3), 2, 4, 7, 8)


def test_a_seed_seeds_a_new_run_and_not_one_that_goes_on():
    engine = Engine(lambda engine, batch: torch.rand(1).item())
    drawn = [engine.run([0], seed=7).output, engine.run([0], seed=7).output, engine.run([0], max_epochs=2, seed=7).output]
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_refused_seed_leaves_nothing_begun(engine):
    with pytest.raises(TypeError, match="Argument seed should be an integer, got '7'"):
        engine.run([0], seed="7")
    with pytest.raises(ValueError, match="Argument seed should be at least 0, got -1"):
        engine.run([0], seed=-1)
    assert engine.run(range(2)).iteration == 2


@contract(53)
def test_after_a_run_the_state_holds_the_last_values(engine):
    data = [1, 2, 3]
    state = engine.run(data, max_epochs=2)

    assert (state.batch, state.output) == (3, 3)
    assert state.dataloader is data
    assert (state.iteration, state.epoch, state.max_epochs, state.epoch_length) == (6, 2, 2, 3)
    assert state.metrics == {}


@contract(55)
def test_the_engine_draws_no_random_numbers(engine):
    before = torch.get_rng_state()
    engine.run(range(4), max_epochs=3, epoch_length=3)
    assert torch.equal(torch.get_rng_state(), before)


@contract(55)
def test_an_evaluator_in_a_handler_that_keeps_the_random_state_leaves_the_data_stream_alone():
    deterministic = pytest.importorskip("framework.engine.deterministic")

    def batches_drawn(evaluating):
        loader = torch.utils.data.DataLoader(torch.arange(12), batch_size=3, shuffle=True)
        seen, trainer = [], Engine(lambda engine, batch: seen.append(batch.tolist()))
        if evaluating:
            evaluator = Engine(lambda engine, batch: torch.rand(2))
            trainer.on(Events.ITERATION_COMPLETED)(deterministic.keep_random_state(lambda engine: evaluator.run(loader)))
        torch.manual_seed(3)
        trainer.run(loader, max_epochs=3)
        return seen

    assert batches_drawn(evaluating=True) == batches_drawn(evaluating=False)


@contract(44)
def test_the_last_event_is_the_one_just_fired(engine):
    seen = []
    for event in Events:
        engine.add_event_handler(event, lambda engine: seen.append(engine.last_event_name))
    engine.run([0])
    assert seen == [
        "STARTED",
        "EPOCH_STARTED",
        "GET_BATCH_STARTED",
        "GET_BATCH_COMPLETED",
        "ITERATION_STARTED",
        "ITERATION_COMPLETED",
        "EPOCH_COMPLETED",
        "COMPLETED",
    ]


@contract(44)
def test_data_and_step_see_the_last_event_though_nobody_listens():
    seen = []

    def batches():
        seen.append(engine.last_event_name)
        yield 0

    engine = Engine(lambda engine, batch: seen.append(engine.last_event_name))
    engine.run(batches(), epoch_length=1)
    assert seen == ["GET_BATCH_STARTED", "ITERATION_STARTED"]


class Clock:
    """Stands still but for the seconds that a test spends."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now

    def spend(self, seconds):
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("framework.engine.loop.perf_counter", clock)
    monkeypatch.setattr("framework.engine.position.perf_counter", clock)
    return clock


@contract(77)
def test_times_include_what_they_should(clock):
    seen = {}

    def batches():
        for batch in range(4):
            clock.spend(1)
            yield batch

    def look(engine, seconds):
        seen[engine.last_event_name] = engine.state.times[engine.last_event_name]
        clock.spend(seconds)

    engine = Engine(lambda engine, batch: clock.spend(10))
    engine.add_event_handler(Events.STARTED, clock.spend, 1000)
    engine.add_event_handler(Events.EPOCH_STARTED, clock.spend, 100)
    engine.add_event_handler(Events.EPOCH_COMPLETED, look, 5000)
    engine.add_event_handler(Events.COMPLETED, look, 20000)
    state = engine.run(batches(), max_epochs=2, epoch_length=2)

    assert seen == {"EPOCH_COMPLETED": 122, "COMPLETED": 1000 + 2 * 5122}
    assert state.times == {"EPOCH_COMPLETED": 5122, "COMPLETED": 1000 + 2 * 5122 + 20000}


@contract(77)
def test_the_time_between_interruption_and_resumption_does_not_count(clock, at):
    engine = Engine(lambda engine, batch: clock.spend(10))
    data = range(4)
    at(engine, Events.ITERATION_COMPLETED, Engine.interrupt, 2)
    engine.run(data)
    clock.spend(5000)
    assert engine.run(data).times == {"EPOCH_COMPLETED": 40, "COMPLETED": 40}


@contract("x")
def test_a_change_of_the_wall_clock_does_not_change_durations(clock, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: pytest.fail("the wall clock was read"))
    engine = Engine(lambda engine, batch: clock.spend(3))
    assert engine.run(range(2)).times["COMPLETED"] == 6


@contract("w")
def test_a_run_inside_a_run_of_the_same_engine_is_refused(engine):
    def again(engine):
        with pytest.raises(RuntimeError, match=r"run\(\) was called inside a run of the same engine"):
            engine.run([0])

    engine.add_event_handler(Events.ITERATION_COMPLETED, again)
    assert engine.run(range(3)).iteration == 3


def test_two_engines_run_one_inside_the_other(engine):
    inner = Engine(lambda engine, batch: batch)
    engine.add_event_handler(Events.EPOCH_COMPLETED, lambda: inner.run(range(3)))
    assert (engine.run(range(2), max_epochs=2).iteration, inner.state.iteration) == (4, 3)


def test_the_handlers_and_metrics_of_ignite_attach():
    metrics = pytest.importorskip("ignite.metrics")
    engine = Engine(lambda engine, batch: (torch.eye(2)[batch], torch.tensor([0, 1])))
    metrics.Accuracy().attach(engine, "accuracy")
    metrics.RunningAverage(output_transform=lambda output: output[0].sum().item()).attach(engine, "sum")
    state = engine.run([[0, 1], [1, 0]])
    assert state.metrics == {"accuracy": 0.5, "sum": pytest.approx(2)}
