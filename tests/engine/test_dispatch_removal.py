import gc

import pytest

from framework.engine import Engine, Events, RemovableEventHandle

contract = pytest.mark.contract


def handler(engine):
    engine.state.ran = getattr(engine.state, "ran", 0) + 1


class AlwaysEqual:
    def __call__(self):
        pass

    def __eq__(self, other):
        return isinstance(other, AlwaysEqual)

    __hash__ = None


@contract(18)
def test_a_handler_is_found_on_its_event_and_on_any(engine):
    engine.add_event_handler(Events.STARTED, handler)

    assert engine.has_event_handler(handler)
    assert engine.has_event_handler(handler, Events.STARTED)
    assert engine.has_event_handler(handler, Events.STARTED | Events.COMPLETED)
    assert not engine.has_event_handler(handler, Events.COMPLETED)
    assert not engine.has_event_handler(print)


@contract(18)
def test_a_handler_is_found_by_equality(engine):
    engine.add_event_handler(Events.STARTED, AlwaysEqual())
    assert engine.has_event_handler(AlwaysEqual(), Events.STARTED)


@contract(18)
@pytest.mark.parametrize("registered", [Events.EPOCH_STARTED, Events.EPOCH_STARTED(every=2)])
@pytest.mark.parametrize("asked", [Events.EPOCH_STARTED, Events.EPOCH_STARTED(every=2), Events.EPOCH_STARTED(once=5)])
def test_filters_do_not_matter_in_looking_up(engine, registered, asked):
    engine.add_event_handler(registered, handler)
    assert engine.has_event_handler(handler, asked)


@contract(19)
def test_a_removed_handler_does_not_run(engine):
    engine.add_event_handler(Events.STARTED, handler)
    engine.remove_event_handler(handler, Events.STARTED)
    assert not hasattr(engine.run([0]), "ran")


@contract(19)
@pytest.mark.parametrize("registered", [Events.EPOCH_STARTED, Events.EPOCH_STARTED(every=2)])
@pytest.mark.parametrize("named", [Events.EPOCH_STARTED, Events.EPOCH_STARTED(every=2), Events.EPOCH_STARTED(once=5)])
def test_filters_do_not_matter_in_removing(engine, registered, named):
    engine.add_event_handler(registered, handler)
    engine.remove_event_handler(handler, named)
    assert not engine.has_event_handler(handler)


@contract(19)
def test_removing_what_is_not_there_is_refused(engine):
    with pytest.raises(ValueError, match=r"Input event name 'Events\.STARTED' does not exist"):
        engine.remove_event_handler(handler, Events.STARTED)
    with pytest.raises(ValueError, match="Input event name 'unknown' does not exist"):
        engine.remove_event_handler(handler, "unknown")
    engine.add_event_handler(Events.STARTED, print)
    with pytest.raises(ValueError, match=r"Input handler '<function handler at .*>' is not found among"):
        engine.remove_event_handler(handler, Events.STARTED)


@contract(20)
def test_a_handle_removes_once_and_then_does_nothing(engine):
    handle = engine.add_event_handler(Events.STARTED, handler)
    assert isinstance(handle, RemovableEventHandle)

    handle.remove()
    handle.remove()

    assert not engine.has_event_handler(handler)


@contract(20)
def test_a_handle_can_be_entered_and_left_again_and_again(engine):
    with engine.add_event_handler(Events.STARTED, handler) as handle:
        with handle as same:
            assert same is handle
            assert engine.has_event_handler(handler)
        assert not engine.has_event_handler(handler)
    with handle:
        assert not engine.has_event_handler(handler)


@contract(20)
def test_a_handle_touches_its_own_event_only(engine):
    handle = engine.add_event_handler(Events.STARTED, handler)
    engine.add_event_handler(Events.COMPLETED, handler)
    handle.remove()
    assert not engine.has_event_handler(handler, Events.STARTED)
    assert engine.has_event_handler(handler, Events.COMPLETED)


@contract(20)
def test_the_handle_of_a_list_removes_from_all_its_events(engine):
    handle = engine.add_event_handler(Events.STARTED | Events.EPOCH_COMPLETED(every=2) | Events.COMPLETED, handler)
    engine.add_event_handler(Events.EPOCH_STARTED, handler)
    handle.remove()
    assert not engine.has_event_handler(handler, Events.STARTED | Events.EPOCH_COMPLETED | Events.COMPLETED)
    assert engine.has_event_handler(handler, Events.EPOCH_STARTED)


@contract("p")
@pytest.mark.parametrize("event", [Events.STARTED, Events.STARTED(event_filter=lambda engine, count: True)])
def test_a_handle_removes_its_own_registration_only(engine, event):
    engine.add_event_handler(event, handler)
    engine.add_event_handler(event, handler).remove()
    assert engine.run([0]).ran == 1


@contract("p")
def test_removing_by_name_removes_every_registration(engine):
    engine.add_event_handler(Events.STARTED, handler)
    engine.add_event_handler(Events.STARTED, handler)
    engine.remove_event_handler(handler, Events.STARTED)
    assert not engine.has_event_handler(handler)


@contract(21)
def test_a_handle_lets_go_of_engine_and_handler():
    def short_lived(engine):
        pass

    engine = Engine(lambda engine, batch: None)
    handle = engine.add_event_handler(Events.STARTED, short_lived)
    assert handle.engine() is engine
    assert handle.handler() is short_lived

    del engine, short_lived
    gc.collect()

    assert handle.engine() is None
    assert handle.handler() is None
    handle.remove()


@contract(21)
def test_the_handle_of_a_narrowed_event_leads_to_the_handler_through_its_stand_in(engine):
    def short_lived(engine):
        ran.append(engine)

    ran = []
    handle = engine.add_event_handler(Events.STARTED(once=1), short_lived)
    stand_in = handle.handler()
    assert stand_in._parent() is short_lived
    assert engine.has_event_handler(stand_in, Events.STARTED)
    stand_in(engine)
    assert ran == [engine]

    handle.remove()
    del short_lived
    gc.collect()

    assert stand_in._parent() is None
    assert stand_in(engine) is None
    del stand_in
    assert handle.handler() is None


@contract("q")
def test_a_handler_added_while_its_event_fires_runs_the_next_time(engine):
    ran = []

    def adding(engine):
        if not ran:
            engine.add_event_handler(Events.ITERATION_COMPLETED, ran.append, "added")
            ran.append("adding")

    engine.add_event_handler(Events.ITERATION_COMPLETED, adding)
    engine.run(range(2))

    assert ran == ["adding", "added"]


@contract("q")
def test_a_handler_removed_while_its_event_fires_does_not_run(engine):
    def removing(engine):
        if not engine.has_event_handler(handler):
            return
        engine.remove_event_handler(handler, Events.ITERATION_COMPLETED)
        handle.remove()

    engine.add_event_handler(Events.ITERATION_COMPLETED, removing)
    engine.add_event_handler(Events.ITERATION_COMPLETED, handler)
    handle = engine.add_event_handler(Events.ITERATION_COMPLETED(every=1), handler)

    assert not hasattr(engine.run(range(2)), "ran")


@contract("q")
def test_a_handler_may_remove_itself_without_hindering_the_next(engine):
    ran = []

    def once(engine):
        ran.append("once")
        handle.remove()

    handle = engine.add_event_handler(Events.ITERATION_COMPLETED, once)
    engine.add_event_handler(Events.ITERATION_COMPLETED, ran.append, "next")
    engine.run(range(2))

    assert ran == ["once", "next", "next"]
