import pytest

from framework.engine import Engine, Events

contract = pytest.mark.contract


class BurstError(Exception):
    pass


def bursting_at(iteration, error=BurstError):
    """Returns a step that raises `error` in one iteration."""

    def step(engine, batch):
        if engine.state.iteration == iteration:
            raise error("boom")
        return batch

    return step


PLACES = [
    Events.STARTED,
    Events.EPOCH_STARTED,
    Events.GET_BATCH_STARTED,
    Events.GET_BATCH_COMPLETED,
    Events.ITERATION_STARTED,
    Events.ITERATION_COMPLETED,
    Events.DATALOADER_STOP_ITERATION,
    Events.EPOCH_COMPLETED,
    Events.COMPLETED,
]


@contract(74)
@pytest.mark.parametrize("error", [BurstError, KeyboardInterrupt, SystemExit])
def test_an_exception_leaves_run_as_it_is(error):
    with pytest.raises(error, match="boom"):
        Engine(bursting_at(2, error)).run(range(3))


@contract(74)
@pytest.mark.parametrize("event", PLACES)
def test_an_exception_of_a_handler_leaves_run(traced, at, event):
    def burst(engine):
        raise BurstError("boom")

    engine, trace = traced()
    at(engine, event, burst)
    with pytest.raises(BurstError, match="boom"):
        engine.run(range(2), epoch_length=3)
    assert trace[-1] == event.name


@contract(74)
def test_an_exception_of_the_data_leaves_run(engine):
    def batches():
        yield 1
        raise BurstError("boom")

    with pytest.raises(BurstError, match="boom"):
        engine.run(batches())
    assert engine.state.iteration == 1


@contract(75)
@pytest.mark.parametrize("event", PLACES)
def test_a_handler_swallows_an_exception_and_is_called_once(traced, at, event):
    caught = []

    def burst(engine):
        raise BurstError("boom")

    engine, trace = traced()
    at(engine, event, burst)
    engine.add_event_handler(Events.EXCEPTION_RAISED, lambda engine, e: caught.append((engine, type(e), str(e))))
    assert engine.run(range(2), epoch_length=3) is engine.state

    assert caught == [(engine, BurstError, "boom")]
    assert trace[-1] == event.name


@contract(75)
def test_a_handler_may_raise_again():
    caught = []

    def again(engine, e):
        caught.append(e)
        raise e

    engine = Engine(bursting_at(2))
    engine.add_event_handler(Events.EXCEPTION_RAISED, again)
    with pytest.raises(BurstError, match="boom") as raised:
        engine.run(range(3))
    assert caught == [raised.value]


@contract(75)
def test_an_exception_of_the_exception_handler_leaves_run_and_is_not_given_to_it():
    caught = []

    def fails(e):
        caught.append(type(e))
        raise KeyError("handler") from e

    engine = Engine(bursting_at(1))
    engine.add_event_handler(Events.EXCEPTION_RAISED, fails)
    with pytest.raises(KeyError, match="handler"):
        engine.run([0])
    assert caught == [BurstError]


@contract(76)
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
@pytest.mark.parametrize("place", [None, Events.STARTED, Events.EPOCH_COMPLETED, Events.COMPLETED])
def test_exceptions_that_are_no_errors_reach_the_handler_too(error, place, at):
    caught = []

    def burst(engine):
        raise error("boom")

    engine = Engine(bursting_at(2 if place is None else 0, error))
    if place is not None:
        at(engine, place, burst)
    engine.add_event_handler(Events.EXCEPTION_RAISED, lambda engine, e: caught.append((engine, type(e))))
    engine.run(range(3))
    assert caught == [(engine, error)]


@contract("a")
@pytest.mark.parametrize("data", [range(3), [0, 1, 2]])
def test_after_an_exception_the_next_run_goes_on_with_the_next_epoch(traced, data):
    engine, trace = traced(bursting_at(5))
    with pytest.raises(BurstError):
        engine.run(data, max_epochs=4)
    trace.clear()

    state = engine.run(data, max_epochs=4)

    assert state is engine.state
    assert (state.epoch, state.iteration) == (4, 5 + 2 * 3)
    assert trace[:2] == ["STARTED", "EPOCH_STARTED"]
    assert trace.count("EPOCH_STARTED") == trace.count("EPOCH_COMPLETED") == 2
    assert trace[-1] == "COMPLETED"


@contract("d")
def test_a_swallowed_exception_ends_the_run(traced):
    engine, trace = traced(bursting_at(2))
    engine.add_event_handler(Events.EXCEPTION_RAISED, trace.append, "caught")

    state = engine.run(range(3), max_epochs=3)

    assert trace[-3:] == ["ITERATION_STARTED", "step", "caught"]
    assert "EPOCH_COMPLETED" not in trace
    assert "COMPLETED" not in trace
    assert isinstance(state.exception, BurstError)
    assert (state.epoch, state.iteration) == (1, 2)
    assert engine.run(range(3)).exception is None


@contract("e")
def test_once_its_handler_is_removed_an_exception_is_raised_again():
    engine = Engine(bursting_at(1))
    caught = []
    engine.add_event_handler(Events.EXCEPTION_RAISED, caught.append).remove()
    with pytest.raises(BurstError, match="boom"):
        engine.run([0])
    assert caught == []
