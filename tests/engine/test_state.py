import pytest

from framework.engine import Engine, Events, State

contract = pytest.mark.contract


@contract(3)
def test_a_fresh_state_stands_at_zero():
    state = State()

    assert (state.iteration, state.epoch) == (0, 0)
    assert state.max_epochs is state.max_iters is state.epoch_length is None
    assert state.batch is state.output is state.dataloader is state.seed is state.exception is None
    assert state.metrics == {}


@contract(77)
def test_a_fresh_state_has_no_times():
    assert State().times == {"EPOCH_COMPLETED": None, "COMPLETED": None}


@contract(4)
def test_the_state_may_be_replaced_before_a_run(engine):
    engine.state = mine = State(best=0.5)
    assert engine.run(range(3)) is mine
    assert (mine.iteration, mine.best) == (3, 0.5)


@contract(4)
def test_a_replaced_state_with_a_target_is_run_to_it(traced):
    engine, trace = traced()
    engine.state = State(max_epochs=2)

    engine.run(range(3))

    assert (engine.state.iteration, engine.state.epoch_length) == (6, 3)
    assert trace.count("GET_BATCH_STARTED") == trace.count("GET_BATCH_COMPLETED") == 6


@contract(4)
def test_the_state_may_be_replaced_before_saving(engine):
    engine.state = State(iteration=6, epoch_length=3, max_epochs=4)
    assert dict(engine.state_dict()) == {"epoch_length": 3, "max_epochs": 4, "iteration": 6}


@contract(4)
def test_the_state_may_be_replaced_inside_an_overridden_run():
    class Resetting(Engine):
        def run(self, *args, **kwargs):
            self.state = State(runs=getattr(self.state, "runs", 0) + 1)
            return super().run(*args, **kwargs)

    engine = Resetting(lambda engine, batch: batch)
    engine.run(range(2), max_epochs=3)
    state = engine.run(range(2), max_epochs=2)

    assert (state.runs, state.epoch, state.iteration) == (2, 2, 4)


@contract(5)
def test_attributes_of_the_user_survive_loading_and_running(engine):
    engine.state.alpha = 0.1
    engine.load_state_dict({"epoch_length": 2, "max_epochs": 3, "iteration": 2})
    assert engine.run(range(2)).alpha == 0.1
    assert engine.run(range(2)).alpha == 0.1


@contract(78)
def test_a_state_takes_any_attribute():
    state = State(iteration=3, best=0.5, name="mine")
    assert (state.iteration, state.best, state.name) == (3, 0.5, "mine")


@contract(78)
def test_repr_lists_every_attribute():
    text = repr(State(iteration=3, rate=0.1, name="mine", items=[1, 2]))

    assert text.startswith("State:\n")
    for line in ("iteration: 3", "epoch: 0", "rate: 0.1", "name: mine", "items: <class 'list'>", "metrics: <class 'dict'>"):
        assert f"\t{line}\n" in text
    for name in ("epoch_length", "max_epochs", "max_iters", "output", "batch", "dataloader", "seed", "times"):
        assert f"\t{name}: " in text
    assert "\t_" not in text


@contract(79)
@pytest.mark.parametrize(
    "event",
    [Events.GET_BATCH_STARTED, Events.GET_BATCH_COMPLETED, Events.ITERATION_STARTED, Events.ITERATION_COMPLETED],
)
def test_iterations_count_batch_and_iteration_events(event):
    state = State(iteration=5, epoch=2)
    assert state.get_event_attrib_value(event) == 5
    assert state.get_event_attrib_value(event(every=2)) == 5
    assert state.get_event_attrib_value(event.name) == 5


@contract(79)
@pytest.mark.parametrize("event", [Events.STARTED, Events.EPOCH_STARTED, Events.EPOCH_COMPLETED, Events.COMPLETED])
def test_epochs_count_epoch_and_run_events(event):
    state = State(iteration=5, epoch=2)
    assert state.get_event_attrib_value(event) == 2
    assert state.get_event_attrib_value(event(once=2)) == 2


@contract(79)
@pytest.mark.parametrize("event", [Events.TERMINATE, Events.EXCEPTION_RAISED, "abc", None])
def test_events_without_a_counter_have_no_value(event):
    with pytest.raises(RuntimeError, match="Unknown event name"):
        State().get_event_attrib_value(event)


@contract(38)
def test_a_counter_keeps_the_value_that_is_there():
    state = State(words=3)
    state.add_counter("read", "words")
    state.add_counter("written", "lines")
    assert (state.get_event_attrib_value("read"), state.get_event_attrib_value("written")) == (3, 0)


@contract("n")
def test_a_counter_belongs_to_one_state():
    State().add_counter("read", "words")
    with pytest.raises(RuntimeError, match="Unknown event name 'read'"):
        State(words=3).get_event_attrib_value("read")
