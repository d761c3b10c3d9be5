import copy
import enum
import pickle

import pytest

from framework.engine import CallableEventWithFilter, Engine, EventEnum, Events, EventsList

contract = pytest.mark.contract

NAMES = [
    "STARTED",
    "EPOCH_STARTED",
    "GET_BATCH_STARTED",
    "GET_BATCH_COMPLETED",
    "ITERATION_STARTED",
    "ITERATION_COMPLETED",
    "EPOCH_COMPLETED",
    "COMPLETED",
    "EXCEPTION_RAISED",
    "DATALOADER_STOP_ITERATION",
    "TERMINATE",
    "TERMINATE_SINGLE_EPOCH",
    "INTERRUPT",
]


class TextEvents(EventEnum):
    WORD_READ = "word_read"
    SENTENCE_READ = "sentence_read"


@contract(23)
def test_the_core_events_have_names_and_lower_case_values():
    assert [event.name for event in Events] == NAMES
    assert [event.value for event in Events] == [name.lower() for name in NAMES]
    assert all(type(event.value) is str for event in Events)


@contract(24)
@pytest.mark.parametrize("event", list(Events))
def test_a_member_is_callable_and_stays_as_it_is(event):
    narrowed = event(every=2)

    assert isinstance(event, CallableEventWithFilter)
    assert type(narrowed) is CallableEventWithFilter
    assert narrowed is not event
    assert narrowed.filter is not None
    assert event.filter is None


@contract(24)
def test_narrowing_a_narrowed_event_leaves_that_one_as_it_is():
    second = Events.ITERATION_COMPLETED(every=2)
    third = second(every=3)

    assert [second.filter(None, count) for count in (2, 3)] == [True, False]
    assert [third.filter(None, count) for count in (2, 3)] == [False, True]


@contract(25)
def test_events_are_equal_by_name():
    assert Events.TERMINATE == "TERMINATE"
    assert "TERMINATE" == Events.TERMINATE  # noqa: SIM300  # both sides are meant
    assert Events.STARTED(once=1) == Events.STARTED
    assert Events.STARTED(once=1) == Events.STARTED(once=2)
    assert hash(Events.STARTED(once=1)) == hash(Events.STARTED) == hash("STARTED")
    assert {Events.STARTED: "found"}[Events.STARTED(once=1)] == "found"


@contract(25)
@pytest.mark.parametrize("other", [Events.COMPLETED, Events.EPOCH_STARTED, "abc", "started", 1, None])
def test_events_differ_from_all_else(other):
    assert (other == Events.STARTED) is False
    assert other != Events.STARTED
    assert other != Events.STARTED(once=1)


@contract(25)
def test_events_equal_those_of_another_library_that_compares_by_name():
    ignite = pytest.importorskip("ignite.engine")

    assert Events.STARTED == ignite.Events.STARTED
    assert ignite.Events.STARTED == Events.STARTED
    assert Events.STARTED != ignite.Events.COMPLETED
    assert {Events.STARTED: "found"}[ignite.Events.STARTED(once=1)] == "found"


@contract(26)
@pytest.mark.parametrize("event", [Events.STARTED, Events.STARTED(once=1), CallableEventWithFilter("started", None, "STARTED")])
def test_every_form_prints_its_name(event):
    assert "STARTED" in str(event)
    assert "STARTED" in repr(event)
    assert "STARTED" in f"{event}"


@pytest.mark.parametrize("clone", [copy.copy, copy.deepcopy, lambda event: pickle.loads(pickle.dumps(event))])
def test_a_copied_member_is_the_member(clone):
    assert clone(Events.EPOCH_COMPLETED) is Events.EPOCH_COMPLETED
    assert clone(TextEvents.WORD_READ) is TextEvents.WORD_READ


def test_a_copy_of_a_narrowed_event_keeps_its_filter():
    third = copy.deepcopy(Events.EPOCH_COMPLETED(every=3))

    assert third == Events.EPOCH_COMPLETED
    assert [third.filter(None, count) for count in (3, 4)] == [True, False]


def test_members_are_found_by_value_and_by_name():
    assert Events("epoch_started") is Events.EPOCH_STARTED
    assert Events("EPOCH_STARTED") is Events.EPOCH_STARTED
    assert Events["EPOCH_STARTED"] is Events.EPOCH_STARTED


@contract(33)
@pytest.mark.parametrize("holder", [Events, Events.STARTED])
def test_the_default_filter_is_always_due_and_deprecated(holder):
    with pytest.warns(UserWarning, match="default_event_filter is deprecated"):
        assert holder.default_event_filter(None, 1) is True


@contract(34)
def test_joined_events_make_a_list_in_order():
    second = Events.ITERATION_STARTED(every=2)
    joined = Events.STARTED | second | TextEvents.WORD_READ | Events.COMPLETED

    assert isinstance(joined, EventsList)
    assert len(joined) == 4
    assert list(joined) == [joined[index] for index in range(4)] == ["STARTED", "ITERATION_STARTED", "WORD_READ", "COMPLETED"]
    assert joined[1] is second


@contract(34)
def test_a_handler_of_a_list_runs_on_each_event(engine):
    fired = []
    engine.register_events(*TextEvents)
    joined = Events.STARTED | Events.ITERATION_COMPLETED(every=2) | TextEvents.WORD_READ | Events.COMPLETED
    engine.add_event_handler(joined, lambda engine: fired.append(engine.last_event_name))
    engine.add_event_handler(Events.EPOCH_COMPLETED, lambda engine: engine.fire_event(TextEvents.WORD_READ))

    engine.run(range(4))

    assert fired == ["STARTED", "ITERATION_COMPLETED", "ITERATION_COMPLETED", "WORD_READ", "COMPLETED"]


@contract(34)
def test_an_event_that_is_twice_in_a_list_fires_twice(engine):
    fired = []
    engine.add_event_handler(Events.STARTED | Events.EPOCH_STARTED(once=1) | Events.EPOCH_STARTED(once=1), fired.append, "ran")
    engine.run([0])
    assert fired == ["ran"] * 3


@contract("n")
def test_joining_leaves_both_sides_as_they_are():
    left, right = Events.STARTED | Events.COMPLETED, Events.TERMINATE | Events.INTERRUPT
    joined = left | right

    assert list(joined) == ["STARTED", "COMPLETED", "TERMINATE", "INTERRUPT"]
    assert list(Events.EPOCH_STARTED | right) == ["EPOCH_STARTED", "TERMINATE", "INTERRUPT"]
    assert list(left) == ["STARTED", "COMPLETED"]
    assert list(right) == ["TERMINATE", "INTERRUPT"]
    assert repr(left) == "EventsList(Events.STARTED, Events.COMPLETED)"


def test_a_list_is_made_from_events():
    assert list(EventsList(Events.STARTED, Events.COMPLETED(once=1))) == ["STARTED", "COMPLETED"]
    assert list(EventsList()) == []


@contract(35)
@pytest.mark.parametrize("stranger", ["abc", 1, None, object()])
def test_only_events_go_into_a_list(stranger):
    with pytest.raises(TypeError, match="Argument event should be Events or CallableEventWithFilter"):
        EventsList()._append(stranger)
    with pytest.raises(TypeError, match="Argument event should be Events or CallableEventWithFilter"):
        Events.STARTED | stranger


@contract(36)
def test_custom_events_are_callable_and_plain_enums_are_not():
    class Plain(enum.Enum):
        WORD_READ = "word_read"

    assert [event.name for event in TextEvents] == ["WORD_READ", "SENTENCE_READ"]
    assert [event.value for event in TextEvents] == ["word_read", "sentence_read"]
    assert TextEvents.WORD_READ(every=3).filter(None, 3)
    with pytest.raises(TypeError, match="object is not callable"):
        Plain.WORD_READ(every=3)


def test_a_narrowed_event_is_built_from_an_event_and_a_filter():
    due = lambda engine, count: count == 7  # noqa: E731

    for event in (
        CallableEventWithFilter(Events.EPOCH_STARTED, due),
        CallableEventWithFilter(Events.EPOCH_STARTED, event_filter=due),
        CallableEventWithFilter("epoch_started", due, "EPOCH_STARTED"),
        CallableEventWithFilter("epoch_started", due, name="EPOCH_STARTED"),
        CallableEventWithFilter(CallableEventWithFilter(Events.EPOCH_STARTED, due)),
    ):
        assert (event, event.name, event.value) == (Events.EPOCH_STARTED, "EPOCH_STARTED", "epoch_started")
        assert event.filter is due


def test_a_narrowed_event_is_built_from_an_event_and_counts():
    def due(*args, **kwargs):
        event = CallableEventWithFilter(Events.EPOCH_STARTED, *args, **kwargs)
        return [count for count in range(1, 8) if event.filter(None, count)]

    assert due(None, 3) == [3, 6]
    assert due(None, None, 4) == [4]
    assert due(before=3) == [1, 2]
    assert due(after=5) == [6, 7]
    assert CallableEventWithFilter(Events.EPOCH_STARTED).filter is None


def test_a_built_event_is_registered_like_a_member():
    counts, engine = [], Engine(lambda engine, batch: None)
    engine.add_event_handler(
        CallableEventWithFilter(Events.ITERATION_STARTED, every=2), lambda engine: counts.append(engine.state.iteration)
    )
    engine.run(range(5))
    assert counts == [2, 4]
