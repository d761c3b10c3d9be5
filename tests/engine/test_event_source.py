from enum import Enum

import pytest

from framework.engine import Engine, EventEnum, Events, RemovableEventHandle

contract = pytest.mark.contract


class Words(EventEnum):
    READ = "read"
    WRITTEN = "written"


class Strange(Enum):
    READ = "read"


@contract(8)
def test_adding_a_handler_returns_its_handle(engine):
    assert isinstance(engine.add_event_handler(Events.STARTED, lambda: None), RemovableEventHandle)


@contract(8)
def test_on_returns_the_function_so_that_it_stacks(engine):
    ran = []

    def function(engine, word):
        ran.append((engine.last_event_name, word))

    stacked = engine.on(Events.STARTED, "a")(engine.on(Events.EPOCH_STARTED, word="b")(engine.on("COMPLETED", "c")(function)))
    engine.run([0])

    assert stacked is function
    assert ran == [("STARTED", "a"), ("EPOCH_STARTED", "b"), ("COMPLETED", "c")]


def test_on_takes_the_event_by_either_name_but_not_both(engine):
    ran = []

    @engine.on(event_filter=Events.ITERATION_COMPLETED(every=2))
    def even(engine):
        ran.append(engine.state.iteration)

    engine.run(range(4))
    assert ran == [2, 4]
    with pytest.raises(TypeError, match="Give exactly one event"):
        engine.on()
    with pytest.raises(TypeError, match="Give exactly one event"):
        engine.on(Events.STARTED, event_filter=Events.STARTED)


@contract(9)
@pytest.mark.parametrize(
    "event", ["unknown", Words.READ, Words.READ(event_filter=lambda engine, count: True), Strange.READ, None, 3]
)
def test_an_unknown_event_is_refused(engine, event):
    with pytest.raises(ValueError, match="is not a valid event for this Engine"):
        engine.add_event_handler(event, lambda: None)


@contract(9)
def test_an_unknown_event_is_refused_through_on(engine):
    with pytest.raises(ValueError, match="Event 'unknown' is not a valid event for this Engine"):
        engine.on("unknown")(lambda: None)


@contract(17)
def test_plain_strings_are_events_once_registered(engine):
    ran = []
    engine.register_events("a", "b")
    engine.add_event_handler("a", ran.append, "a ran")
    engine.add_event_handler("b", lambda engine: ran.append(engine.last_event_name))

    engine.fire_event("b")
    engine.fire_event("a")

    assert ran == ["b", "a ran"]


@contract(22)
def test_registered_events_are_known(engine):
    assert all(engine.has_registered_events(event) for event in Events)
    assert engine.has_registered_events(Events.ITERATION_COMPLETED(every=2))
    assert not engine.has_registered_events("unknown")
    assert not engine.has_registered_events(Words.READ)
    engine.register_events(*Words)
    assert engine.has_registered_events(Words.READ)


@contract(37)
@pytest.mark.parametrize("stranger", [None, 1, object(), Strange.READ])
@pytest.mark.parametrize("before", [[], ["a"], [Words.READ, "b"]])
def test_event_names_are_strings_or_custom_events(engine, stranger, before):
    with pytest.raises(TypeError, match=rf"Value at {len(before)} of event_names should be a str or EventEnum"):
        engine.register_events(*before, stranger)


@contract(37)
@pytest.mark.parametrize("wrong", ["attr", 1, ["a"]])
def test_counters_are_given_as_a_mapping(engine, wrong):
    with pytest.raises(ValueError, match="Expected event_to_attr to be dictionary"):
        engine.register_events("a", event_to_attr=wrong)


@contract(38)
def test_a_custom_counter_starts_at_zero_and_counts_for_filters():
    words, ran = ["a", "b", "c", "d", "e"], []

    def read(engine, sentence):
        for _ in sentence:
            engine.state.words += 1
            engine.fire_event(Words.READ)

    engine = Engine(read)
    engine.register_events(*Words, event_to_attr={Words.READ: "words", Words.WRITTEN: "lines"})
    assert (engine.state.words, engine.state.lines) == (0, 0)
    assert engine.state.get_event_attrib_value(Words.READ) == 0
    for event in (Words.READ(every=2), Words.READ(once=3), Words.READ(before=2)):
        engine.add_event_handler(event, lambda: ran.append(engine.state.words))
    engine.run([words])

    assert ran == [1, 2, 3, 4]


@contract(38)
def test_a_custom_counter_keeps_what_the_state_has(engine):
    engine.state.words = 7
    engine.register_events(Words.READ, event_to_attr={Words.READ: "words"})
    assert engine.state.words == 7


@contract(38)
def test_a_counter_may_be_given_to_an_event_later(engine):
    ran = []
    engine.register_events(*Words)
    engine.register_events(Words.READ, event_to_attr={Words.READ: "words"})
    engine.add_event_handler(Words.READ(once=2), ran.append, "ran")
    for engine.state.words in (1, 2, 3):
        engine.fire_event(Words.READ)
    assert ran == ["ran"]


@contract(38)
def test_custom_counters_come_back_on_a_new_state(engine):
    engine.register_events(Words.READ, event_to_attr={Words.READ: "words"})
    engine.state = type(engine.state)()
    assert engine.run([0]).words == 0


@contract("n")
def test_custom_counters_belong_to_one_engine(engine):
    engine.register_events("a", event_to_attr={"a": "words"})
    other = Engine(lambda engine, batch: None)

    assert not hasattr(other.state, "words")
    with pytest.raises(RuntimeError, match="Unknown event name"):
        other.state.get_event_attrib_value("a")


@contract(39)
def test_events_can_be_fired_from_the_step_and_from_handlers():
    ran = []

    def step(engine, batch):
        engine.fire_event(Words.READ)
        return batch

    engine = Engine(step)
    engine.register_events(*Words, "never")
    engine.add_event_handler(Words.READ, lambda engine: engine.fire_event(Words.WRITTEN))
    engine.add_event_handler(Words.WRITTEN, lambda engine: ran.append((engine.last_event_name, engine.state.iteration)))
    engine.add_event_handler("never", ran.append, "never")
    engine.run(range(2))

    assert ran == [("WRITTEN", 1), ("WRITTEN", 2)]
    assert engine.last_event_name == "COMPLETED"


def test_a_custom_event_stays_what_it_is(engine):
    engine.register_events(*Words)
    engine.fire_event(Words.READ)
    assert engine.last_event_name is Words.READ


def test_events_of_another_library_can_be_registered(engine):
    ignite = pytest.importorskip("ignite.engine")
    theirs = ignite.EventEnum("Theirs", {"SAID": "said"})
    ran = []
    engine.register_events(*theirs, event_to_attr={theirs.SAID: "words"})
    engine.add_event_handler(theirs.SAID(every=2), lambda: ran.append(engine.state.words))
    for engine.state.words in range(1, 5):
        engine.fire_event(theirs.SAID)
    assert ran == [2, 4]


@contract(39)
@pytest.mark.parametrize("event", ["unknown", Words.READ, Strange.READ, 3])
def test_only_registered_events_can_be_fired(engine, event):
    with pytest.raises(ValueError, match="is not a valid event for this Engine"):
        engine.fire_event(event)


@contract(39)
def test_requests_made_in_a_custom_event_are_obeyed_after_the_iteration(traced):
    engine, trace = traced(lambda engine, batch: engine.fire_event(Words.READ))
    engine.register_events(*Words)
    engine.add_event_handler(Words.READ, lambda engine: engine.terminate())
    engine.run(range(3))
    assert trace[-4:] == ["step", "ITERATION_COMPLETED", "TERMINATE", "COMPLETED"]


@contract(6)
def test_a_subclass_may_fire_everything_by_hand():
    class ByHand(Engine):
        def run(self, data):
            self.fire_event(Events.STARTED)
            for self.state.iteration, batch in enumerate(data, 1):
                self.state.output = self._process_function(self, batch)
                self.fire_event(Events.ITERATION_COMPLETED)
            return self.state

    ran, engine = [], ByHand(lambda engine, batch: -batch)
    engine.add_event_handler(Events.STARTED, ran.append, "started")
    engine.add_event_handler(Events.ITERATION_COMPLETED(every=2), lambda engine: ran.append(engine.state.output))
    engine.run(range(5))

    assert ran == ["started", -1, -3]
    assert engine.last_event_name == Events.ITERATION_COMPLETED
