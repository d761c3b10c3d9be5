import pytest

from framework.engine import Engine, Events
from framework.engine.filters import condition_of

contract = pytest.mark.contract


def counts_at(event, counter="iteration", epochs=3, length=4):
    """Returns the counter at each call of a handler of `event`, over a run of `epochs` epochs."""
    counts, engine = [], Engine(lambda engine, batch: None)
    engine.add_event_handler(event, lambda engine: counts.append(getattr(engine.state, counter)))
    engine.run(range(length), max_epochs=epochs)
    return counts


@contract(27)
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"event_filter": lambda engine, count: True, "every": 2},
        {"event_filter": lambda engine, count: True, "once": 2},
        {"event_filter": lambda engine, count: True, "before": 2},
        {"once": 2, "every": 2},
        {"once": 2, "after": 2},
        {"once": 2, "before": 3, "after": 1},
    ],
)
def test_arguments_come_from_one_group(arguments):
    with pytest.raises(ValueError, match="Only one of the input arguments should be specified, except before, after and every"):
        Events.ITERATION_STARTED(**arguments)


@contract(28)
def test_a_filter_should_be_a_callable():
    with pytest.raises(TypeError, match="Argument event_filter should be a callable, got 12"):
        Events.ITERATION_STARTED(event_filter=12)


@contract(28)
@pytest.mark.parametrize("event_filter", [lambda: True, lambda engine: True, lambda engine, count, more: True])
def test_a_filter_should_take_the_engine_and_the_counter(event_filter):
    with pytest.raises(ValueError, match=r"as event_filter: .*but will be called with \[engine, event\]"):
        Events.ITERATION_STARTED(event_filter=event_filter)


@contract(28)
@pytest.mark.parametrize("every", [0, -1, 1.5, "2", True])
def test_every_should_be_a_positive_integer(every):
    with pytest.raises(ValueError, match=f"Argument every should be integer and greater than zero, got {every!r}"):
        Events.ITERATION_STARTED(every=every)


@contract(28)
@pytest.mark.parametrize("once", [0, -1, 1.5, True, [], [1, 0], [1, 2.5], ["1"], "ab"])
def test_once_should_be_a_positive_integer_or_several(once):
    with pytest.raises(ValueError, match="Argument once should either be a positive integer or a list of positive integers, got"):
        Events.ITERATION_STARTED(once=once)


@contract(28)
@pytest.mark.parametrize("name", ["before", "after"])
@pytest.mark.parametrize("value", [-1, 1.5, "2", False])
def test_before_and_after_should_be_counts(name, value):
    with pytest.raises(ValueError, match=f"Argument {name} should be integer and greater or equal to zero, got {value!r}"):
        Events.ITERATION_STARTED(**{name: value})


@contract(29)
def test_a_given_filter_is_kept_and_asked_with_the_engine_and_the_counter(engine):
    asked, ran = [], []

    def at_primes(engine, count):
        asked.append((engine, count))
        return count in (2, 3, 5)

    event = Events.ITERATION_COMPLETED(event_filter=at_primes)
    engine.add_event_handler(event, lambda engine: ran.append(engine.state.iteration))
    engine.run(range(5))

    assert event.filter == at_primes
    assert asked == [(engine, count) for count in (1, 2, 3, 4, 5)]
    assert ran == [2, 3, 5]


@contract(30)
@pytest.mark.parametrize("event", [Events.ITERATION_STARTED, Events.ITERATION_COMPLETED])
def test_iteration_events_count_iterations_over_the_whole_run(event):
    assert counts_at(event(every=5)) == [5, 10]


@contract(30)
@pytest.mark.parametrize("event", [Events.GET_BATCH_STARTED, Events.GET_BATCH_COMPLETED])
def test_batch_events_see_the_count_before_their_iteration(event):
    assert counts_at(event(every=5)) == [0, 5, 10]
    assert counts_at(event(once=[1, 11, 12])) == [1, 11]


@contract(30)
@pytest.mark.parametrize("event", [Events.EPOCH_STARTED, Events.EPOCH_COMPLETED])
def test_epoch_events_count_epochs_from_one(event):
    assert counts_at(event(every=2), "epoch", epochs=5) == [2, 4]
    assert counts_at(event(once=1), "epoch", epochs=5) == [1]


@contract(30)
def test_the_ends_of_a_run_count_epochs():
    assert counts_at(Events.STARTED(event_filter=lambda engine, count: count == 0), "epoch") == [0]
    assert counts_at(Events.COMPLETED(once=3), "epoch") == [3]


@contract(31)
@pytest.mark.parametrize(
    ("arguments", "due"),
    [
        ({"every": 4}, [4, 8, 12]),
        ({"every": 1}, list(range(1, 13))),
        ({"once": 7}, [7]),
        ({"once": [3, 3, 9, 40]}, [3, 9]),
        ({"once": (2, 4)}, [2, 4]),
        ({"before": 4}, [1, 2, 3]),
        ({"before": 0}, []),
        ({"after": 9}, [10, 11, 12]),
        ({"after": 0}, list(range(1, 13))),
        ({"before": 7, "after": 3}, [4, 5, 6]),
        ({"every": 3, "after": 2}, [3, 6, 9, 12]),
        ({"every": 3, "before": 8}, [1, 4, 7]),
        ({"every": 4, "before": 11, "after": 2}, [3, 7]),
        ({"every": 1, "before": 3}, [1, 2]),
    ],
)
def test_what_is_due(arguments, due):
    assert counts_at(Events.ITERATION_COMPLETED(**arguments)) == due


@contract(31)
def test_every_one_is_no_filter():
    assert Events.ITERATION_COMPLETED(every=1).filter is None


@contract(31)
def test_once_is_due_again_when_the_count_comes_again(engine):
    ran = []
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), ran.append, "ran")
    engine.run(range(3))
    engine.run(range(3))
    assert ran == ["ran", "ran"]


@contract(32)
@pytest.mark.parametrize("arguments", [{"every": 2}, {"once": [2, 4]}, {"event_filter": lambda engine, count: count in (2, 4)}])
def test_filters_work_on_handlers_that_do_not_take_the_engine(engine, arguments):
    ran = []
    engine.add_event_handler(Events.ITERATION_COMPLETED(**arguments), lambda: ran.append(engine.state.iteration))
    engine.run(range(5))
    assert ran == [2, 4]


@contract("l")
@pytest.mark.parametrize(
    "event",
    [
        Events.EXCEPTION_RAISED(once=1),
        Events.DATALOADER_STOP_ITERATION(every=2),
        Events.TERMINATE(after=1),
        Events.TERMINATE_SINGLE_EPOCH(before=3),
        Events.INTERRUPT(event_filter=lambda engine, count: True),
    ],
)
def test_an_event_without_a_counter_takes_no_filter(engine, event):
    with pytest.raises(ValueError, match=f"Event .*{event.name} has no counter, so it cannot be filtered"):
        engine.add_event_handler(event, print)
    assert not engine.has_event_handler(print)


@pytest.mark.parametrize(
    ("narrowed", "condition"),
    [
        ({"every": 3}, "n % 3 == 0"),
        ({"once": 4}, "n == 4"),
        ({"once": [7, 2]}, "n in (2, 7)"),
        ({"after": 2}, "2 < n"),
        ({"before": 5}, "0 < n < 5"),
        ({"every": 2, "after": 3, "before": 9}, "3 < n < 9 and (n - 4) % 2 == 0"),
    ],
)
def test_a_filter_can_be_shown_as_the_condition_that_it_is(narrowed, condition):
    due = Events.ITERATION_COMPLETED(**narrowed).filter
    assert condition_of(due, "n") == condition
    assert [due(None, n) for n in range(12)] == [eval(condition, {"n": n}) for n in range(12)]


def test_a_filter_of_ones_own_is_shown_as_no_condition():
    assert condition_of(lambda engine, count: True, "n") is None
