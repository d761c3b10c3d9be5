import pytest

from framework.engine import CallableEventWithFilter, Engine, EventEnum
from framework.engine.progress import dump_progress, load_progress


class Pages(EventEnum):
    PAGE_TURNED = "page_turned", "page"
    BOOK_CLOSED = "book_closed"


class Lines(EventEnum, event_to_attr={"LINE_READ": "lines"}):
    LINE_READ = "line_read", "line", "author"


def turns(engine, batch):
    engine.fire_event(Pages.PAGE_TURNED, batch)


def reader(*events, step=turns):
    engine = Engine(step)
    engine.register_events(*(events or Pages))
    return engine


def test_handlers_get_what_the_event_declares():
    engine, seen = reader(), []
    engine.add_event_handler(Pages.PAGE_TURNED, lambda page: seen.append(page))
    engine.add_event_handler(Pages.PAGE_TURNED, lambda engine, page: seen.append((engine.state.iteration, page)))
    engine.add_event_handler(Pages.PAGE_TURNED, lambda engine: seen.append(engine.last_event_name.value))
    engine.add_event_handler(Pages.PAGE_TURNED, lambda: seen.append("turned"))
    engine.run(["a"])
    assert seen == ["a", (1, "a"), "page_turned", "turned"]
    assert (Pages.PAGE_TURNED.payload, Pages.BOOK_CLOSED.payload) == (("page",), ())


def test_a_handler_that_no_firing_fits_is_refused():
    with pytest.raises(ValueError, match=r"as a handler of Pages.PAGE_TURNED: takes .* but will be called with \[engine, page\]"):
        reader().add_event_handler(Pages.PAGE_TURNED, lambda engine, page, more: None)


@pytest.mark.parametrize(("event", "given"), [(Pages.PAGE_TURNED, ()), (Pages.PAGE_TURNED, (1, 2)), (Pages.BOOK_CLOSED, (1,))])
def test_an_event_is_fired_with_what_it_declares(event, given):
    declared = list(event.payload)
    words = (
        rf"fire_event got {len(given)} arguments after the event {event.name}, which declares \{declared}. Name what it hands to"
    )
    with pytest.raises(TypeError, match=words):
        reader().fire_event(event, *given)


def test_what_register_events_says_of_a_member_comes_first():
    engine, seen = Engine(lambda engine, batch: engine.fire_event(Lines.LINE_READ, batch)), []
    engine.register_events(*Lines, event_payload={Lines.LINE_READ: ("line",)}, event_to_attr={Lines.LINE_READ: "count"})
    engine.add_event_handler(Lines.LINE_READ(once=2), seen.append)
    engine.state.count = 2
    engine.run(["a"])
    assert seen == ["a"]
    assert not hasattr(engine.state, "lines")


# Filters


def test_filters_count_the_firings():
    engine, seen = reader(), []
    engine.add_event_handler(Pages.PAGE_TURNED(every=2), seen.append)
    engine.add_event_handler(Pages.PAGE_TURNED(once=3), lambda engine, page: seen.append(engine.state.page_turned_count))
    engine.add_event_handler(Pages.PAGE_TURNED(event_filter=lambda engine, count: count == 5), lambda: seen.append("fifth"))
    engine.run(["a", "b", "c", "d", "e"])
    assert seen == ["b", 3, "d", "fifth"]


def test_each_event_counts_its_own_firings():
    def step(engine, batch):
        engine.fire_event(Pages.BOOK_CLOSED)
        turns(engine, batch)
        turns(engine, batch)

    engine = reader(step=step)
    for event in (Pages.PAGE_TURNED, Pages.BOOK_CLOSED):
        engine.add_event_handler(event(every=10), lambda: None)
    state = engine.run(range(3))
    assert (state.page_turned_count, state.book_closed_count) == (6, 3)


def test_the_counts_of_a_new_run_start_from_zero():
    engine, seen = reader(), []
    engine.add_event_handler(Pages.PAGE_TURNED(every=2), seen.append)
    engine.run("abc")
    engine.run("abc")
    engine.run("abc", max_epochs=2)  # goes on
    assert seen == ["b", "b", "a", "c"]


def test_events_that_are_texts_count_too():
    engine, seen = reader("turned", step=lambda engine, batch: engine.fire_event("turned")), []
    engine.add_event_handler(CallableEventWithFilter("turned", every=2), lambda engine: seen.append(engine.state.turned_count))
    engine.run(range(4))
    assert seen == [2, 4]


def test_without_a_filter_nothing_is_counted():
    engine = reader()
    engine.add_event_handler(Pages.PAGE_TURNED, lambda: None)
    assert not hasattr(engine.run("ab"), "page_turned_count")


def test_the_counts_survive_a_new_state():
    engine, seen = reader(), []
    engine.add_event_handler(Pages.PAGE_TURNED(every=2), seen.append)
    engine.state = type(engine.state)()
    engine.fire_event(Pages.PAGE_TURNED, "before")
    engine.fire_event(Pages.PAGE_TURNED, "the run")
    engine.run("abc")
    assert seen == ["the run", "b"]


def test_a_class_may_name_what_the_user_counts():
    def step(engine, batch):
        engine.state.lines += batch
        engine.fire_event(Lines.LINE_READ, batch, "anonymous")

    engine, seen = reader(*Lines, step=step), []
    engine.add_event_handler(Lines.LINE_READ(every=5), lambda engine, line, author: seen.append((engine.state.lines, line, author)))
    assert engine.state.lines == 0
    engine.run([2, 3, 4, 1])
    assert seen == [(5, 3, "anonymous"), (10, 1, "anonymous")]


def test_a_counter_named_later_takes_the_place_of_the_firings():
    engine, seen = reader(), []
    engine.add_event_handler(Pages.PAGE_TURNED(every=2), seen.append)
    engine.register_events(Pages.PAGE_TURNED, event_to_attr={Pages.PAGE_TURNED: "sheets"})
    engine.register_events(Pages.PAGE_TURNED, event_to_attr={Pages.PAGE_TURNED: "others"})  # the first one stays
    engine.add_event_handler(Pages.PAGE_TURNED(once=3), lambda: seen.append("third"))
    for engine.state.sheets in (2, 3):
        engine.fire_event(Pages.PAGE_TURNED, "a")
    assert seen == ["a", "third"]
    assert engine.state.page_turned_count == 0


def test_the_counts_go_on_in_another_process():
    engine, seen = reader(), []
    engine.add_event_handler(Pages.PAGE_TURNED(every=2), lambda: None)
    saved = []
    engine.add_event_handler("EPOCH_COMPLETED", lambda engine: saved.append(dump_progress(engine, "EPOCH_COMPLETED")))
    engine.run("abc", max_epochs=1)

    other = reader()
    other.add_event_handler(Pages.PAGE_TURNED(every=2), seen.append)
    load_progress(other, saved[0], "abc", max_epochs=2, max_iters=None)
    other.run()
    assert seen == ["a", "c"]


# What is no event


@pytest.mark.parametrize("value", [3, ("turned", 3), ()])
def test_a_member_is_made_of_texts(value):
    with pytest.raises(TypeError, match=r"Wrong.TURNED = .* is no event. Write TURNED = 'turned', 'an_argument'."):
        EventEnum("Wrong", {"TURNED": value})


def test_a_counter_belongs_to_a_member():
    with pytest.raises(ValueError, match=r"event_to_attr of Wrong names 'TURN'; its members are TURNED"):

        class Wrong(EventEnum, event_to_attr={"TURN": "count"}):
            TURNED = "turned"
