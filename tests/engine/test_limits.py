import pytest

from framework.engine import Engine, Events, State
from framework.engine.limits import check_count, data_length, is_done, is_reset, plan_run

contract = pytest.mark.contract


class LengthRaises:
    """A loader over an iterable dataset: it has `__len__`, which raises."""

    def __len__(self):
        raise TypeError("object of type 'Stream' has no len()")

    def __iter__(self):
        yield from range(3)


class ByIndex:
    """Iterated over by index, as a class without `__iter__` is."""

    def __getitem__(self, index):
        if index == 3:
            raise IndexError
        return index


def starting_points(engine):
    """Returns a list that each STARTED extends by (epoch, iteration)."""
    points = []
    engine.add_event_handler(Events.STARTED, lambda engine: points.append((engine.state.epoch, engine.state.iteration)))
    return points


@contract(41)
@pytest.mark.parametrize("data", [12, 1.5, object()])
def test_data_should_be_iterable(engine, data):
    with pytest.raises(TypeError, match=f"Argument data should be iterable, got {type(data).__name__}"):
        engine.run(data)


@contract(41)
@pytest.mark.parametrize("data", [[], (), range(0), {}])
def test_empty_data_is_refused(engine, data):
    with pytest.raises(ValueError, match=r"Input data has zero size\. Please provide non-empty data"):
        engine.run(data)


@contract(41)
def test_no_data_needs_an_epoch_length(engine):
    with pytest.raises(ValueError, match="epoch_length should be provided if data is None"):
        engine.run(max_epochs=2)
    engine.load_state_dict({"epoch_length": None, "max_epochs": 3, "iteration": 0})
    with pytest.raises(ValueError, match="epoch_length should be provided if data is None"):
        engine.run()


@contract(43)
def test_a_new_state_runs_one_epoch_over_the_data(engine):
    state = engine.run(range(5))
    assert (state.max_epochs, state.epoch, state.epoch_length, state.iteration) == (1, 1, 5, 5)


@contract(43)
@pytest.mark.parametrize(
    ("data", "length"), [(range(5), 5), ([0], 1), (LengthRaises(), None), (ByIndex(), None), (iter([0]), None)]
)
def test_the_length_of_data(data, length):
    assert data_length(data) == length


@contract(43)
@pytest.mark.parametrize("data", [LengthRaises(), ByIndex()])
def test_data_whose_length_is_unknown_gives_one_pass_an_epoch(engine, data):
    state = engine.run(data, max_epochs=2)
    assert (state.epoch_length, state.iteration) == (3, 6)


@contract(43)
def test_a_loaded_state_without_an_epoch_length_takes_that_of_the_data(traced):
    engine, trace = traced()
    engine.load_state_dict({"epoch_length": None, "max_epochs": 2, "iteration": 0})
    assert engine.run(range(3)).epoch_length == 3
    assert trace.count("GET_BATCH_STARTED") == 6


@contract("c")
@pytest.mark.parametrize("name", ["max_epochs", "max_iters", "epoch_length"])
@pytest.mark.parametrize(("value", "error"), [(2.5, TypeError), ("2", TypeError), (True, TypeError), (-1, ValueError)])
def test_counts_of_a_wrong_type_or_range_are_refused_before_anything_runs(traced, name, value, error):
    engine, trace = traced()
    with pytest.raises(error, match=f"Argument {name} should be "):
        engine.run(range(3), **{name: value})
    assert trace == []
    assert engine.state.max_epochs is engine.state.max_iters is engine.state.epoch_length is None


@contract("c")
def test_an_epoch_has_at_least_one_iteration():
    with pytest.raises(ValueError, match="Argument epoch_length should be at least 1, got 0"):
        check_count("epoch_length", 0, 1)


@contract("c")
@pytest.mark.parametrize("name", ["max_epochs", "max_iters"])
def test_nothing_to_do_is_no_mistake(engine, name):
    state = engine.run(range(3), **{name: 0})
    assert (state.epoch, state.iteration) == (0, 0)


@contract(56)
@pytest.mark.parametrize(
    ("state", "done"),
    [
        (State(), False),
        (State(max_epochs=2, epoch=1, iteration=9), False),
        (State(max_epochs=2, epoch=2, iteration=9), True),
        (State(max_epochs=2, epoch=1, iteration=8, epoch_length=4), True),
        (State(max_epochs=2, epoch=1, iteration=7, epoch_length=4), False),
        (State(max_iters=7, epoch=1, iteration=6, epoch_length=4), False),
        (State(max_iters=7, epoch=1, iteration=7, epoch_length=4), True),
    ],
)
def test_when_a_run_is_done(state, done):
    assert is_done(state) is done


@contract(56)
@pytest.mark.parametrize("arguments", [{}, {"max_epochs": 2}, {"max_iters": 5}])
def test_a_done_engine_starts_from_zero(engine, arguments):
    points = starting_points(engine)
    first = engine.run(range(3), **arguments).iteration
    assert engine.run(range(3), **arguments).iteration == first
    assert points == [(0, 0), (0, 0)]


@contract(56)
def test_a_done_engine_takes_the_length_of_its_new_data(engine):
    engine.run(range(3), max_epochs=2)
    state = engine.run(range(5), max_epochs=2)
    assert (state.epoch_length, state.iteration) == (5, 10)


@contract(57)
@pytest.mark.parametrize(("data", "length"), [(range(3), None), (None, 3)])
def test_a_higher_target_goes_on(engine, data, length):
    points = starting_points(engine)
    engine.run(data, max_epochs=2, epoch_length=length)
    state = engine.run(data, max_epochs=5)
    assert points == [(0, 0), (2, 6)]
    assert (state.epoch, state.iteration, state.epoch_length, state.max_epochs) == (5, 15, 3, 5)


@contract(57, 63)
def test_more_iterations_go_on(engine):
    points = starting_points(engine)
    engine.run(range(4), max_iters=4)
    state = engine.run(range(4), max_iters=10)
    assert points == [(0, 0), (1, 4)]
    assert (state.epoch, state.iteration, state.max_iters) == (3, 10, 10)


@contract(58)
def test_a_target_below_the_progress_is_refused(engine):
    engine.run(range(2), max_epochs=5)
    expected = (
        r"Argument max_epochs should be greater than or equal to the start epoch defined in the state: 2 vs 5\. Please, .* "
        r"before calling engine\.run\(\) in order to restart the training from the beginning\."
    )
    with pytest.raises(ValueError, match=expected):
        engine.run(range(2), max_epochs=2)


@contract(58)
def test_fewer_iterations_than_made_are_refused(engine):
    engine.run(range(2), max_iters=5)
    with pytest.raises(
        ValueError, match=r"Argument max_iters should be .* the start iteration defined in the state: 3 vs 5\. Please,"
    ):
        engine.run(range(2), max_iters=3)


@contract(59)
@pytest.mark.parametrize(("name", "target"), [("max_epochs", 3), ("max_iters", 6)])
@pytest.mark.parametrize("arguments", [{"max_epochs": 1}, {"max_iters": 2}, {}])
def test_taking_the_target_away_starts_from_zero(engine, name, target, arguments):
    points = starting_points(engine)
    engine.run(range(2), **{name: target})
    setattr(engine.state, name, None)
    state = engine.run(range(2), **arguments)
    assert points == [(0, 0), (0, 0)]
    assert state.iteration == 2


@contract(59, 63)
@pytest.mark.parametrize(("arguments", "iteration"), [({"max_epochs": 2}, 6), ({"max_iters": 4}, 4), ({}, 3)])
def test_the_epochs_that_followed_from_iterations_do_not_keep_a_target_alive(engine, unsized, arguments, iteration):
    points = starting_points(engine)
    engine.run(unsized(3), max_iters=5)
    engine.state.max_iters = None
    assert engine.run(unsized(3), **arguments).iteration == iteration
    assert points == [(0, 0), (0, 0)]


@contract(59)
def test_a_loaded_target_is_no_longer_one_that_followed(engine, unsized):
    engine.run(unsized(3), max_iters=5)
    engine.load_state_dict({"epoch_length": 3, "max_epochs": 2, "iteration": 3})
    assert not is_reset(engine.state)
    assert engine.run(unsized(3)).iteration == 6


@contract(60)
def test_another_epoch_length_is_refused_on_the_way(engine):
    engine.run(range(4), max_epochs=2, epoch_length=3)
    with pytest.raises(ValueError, match="Argument epoch_length should be same as in the state: 4 vs 3"):
        engine.run(range(4), max_epochs=3, epoch_length=4)
    assert engine.run(range(4), max_epochs=3, epoch_length=3).iteration == 9


@contract(61)
def test_there_is_one_target(engine):
    expected = r"Arguments max_iters and max_epochs are mutually exclusive\. Please provide only max_epochs or max_iters\."
    with pytest.raises(ValueError, match=expected):
        engine.run(range(4), max_epochs=2, max_iters=3)


@contract(62)
def test_the_kind_of_target_stays(engine):
    engine.run(range(4), max_epochs=2)
    with pytest.raises(ValueError, match=r"To switch from max_epochs to max_iters mode during resume, .* state.max_epochs = None"):
        engine.run(range(4), max_iters=20)
    engine.state.max_epochs = None
    engine.run(range(4), max_iters=6)
    with pytest.raises(ValueError, match=r"To switch from max_iters to max_epochs mode during resume, .* state.max_iters = None"):
        engine.run(range(4), max_epochs=20)


@contract(63)
@pytest.mark.parametrize(
    ("max_iters", "epoch", "full", "broken"),
    [(3, 1, 0, True), (4, 1, 1, False), (6, 2, 1, True), (8, 2, 2, False), (1, 1, 0, True)],
)
def test_so_many_iterations_and_no_more(traced, max_iters, epoch, full, broken):
    engine, trace = traced()
    state = engine.run(range(4), max_iters=max_iters)

    assert (state.iteration, state.epoch, state.max_iters, state.max_epochs) == (max_iters, epoch, max_iters, None)
    assert trace.count("EPOCH_COMPLETED") == full
    assert trace[-2:] == (["TERMINATE", "COMPLETED"] if broken else ["EPOCH_COMPLETED", "COMPLETED"])
    assert engine.should_terminate is broken


@contract(63, "k")
def test_of_data_of_unknown_length_the_epochs_are_counted_too(engine, unsized):
    state = engine.run(unsized(3), max_iters=7)
    assert (state.iteration, state.epoch, state.epoch_length, state.max_epochs) == (7, 3, 3, 3)
    state = engine.run(unsized(3), max_iters=13)
    assert (state.iteration, state.max_iters, state.max_epochs) == (13, 13, 5)


@contract(64)
def test_an_iterator_that_ends_early_ends_the_run(engine):
    with pytest.warns(UserWarning, match="Current iteration: 15 vs Total iterations to run : 20"):
        state = engine.run(iter(range(15)), max_iters=20)
    assert (state.iteration, state.epoch_length, state.max_epochs) == (15, 15, 2)


def test_a_plan_tells_whether_it_starts_from_zero():
    state = State()
    assert plan_run(state, range(3), 2, None, None, interrupted=False)
    assert not plan_run(state, range(3), 2, None, None, interrupted=False)
    state.epoch = 2
    assert not plan_run(state, range(3), None, None, None, interrupted=True)
    assert plan_run(state, range(3), None, None, None, interrupted=False)


def test_two_runs_of_one_engine_do_not_share_a_target(engine):
    other = Engine(lambda engine, batch: None)
    engine.run(range(2), max_epochs=3)
    assert other.state.max_epochs is None
