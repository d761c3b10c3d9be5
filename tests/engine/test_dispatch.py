import functools
from unittest.mock import MagicMock, create_autospec

import pytest

from framework.engine import Engine, Events

contract = pytest.mark.contract


def failing_engine():
    """An engine whose step raises ValueError("boom")."""

    def step(engine, batch):
        raise ValueError("boom")

    return Engine(step)


@contract(10)
def test_a_handler_gets_the_engine_where_its_signature_has_room(engine):
    got = []
    engine.add_event_handler(Events.STARTED, lambda one: got.append(one))
    engine.add_event_handler(Events.STARTED, lambda one, two: got.append((one, two)), 2)
    engine.run([0])
    assert got == [engine, (engine, 2)]


@contract(10)
@pytest.mark.parametrize("handler_of", [lambda got: lambda one: got.append(one), lambda got: lambda engine: got.append(engine)])
def test_one_parameter_and_one_argument_leave_the_engine_out(engine, handler_of):
    got = []
    engine.add_event_handler(Events.STARTED, handler_of(got), 1)
    engine.run([0])
    assert got == [1]


@contract(10)
@pytest.mark.parametrize(
    ("handler", "args", "kwargs"),
    [
        (lambda engine, a: None, (), {}),
        (lambda engine, a, b: None, (1,), {}),
        (lambda engine: None, (1, 2), {}),
        (lambda: None, (1,), {}),
        (lambda engine: None, (), {"b": 1}),
        (lambda engine, a: None, (1,), {"b": 1}),
        (lambda engine, *, b: None, (), {}),
    ],
)
def test_a_handler_that_cannot_be_called_is_refused(engine, handler, args, kwargs):
    with pytest.raises(ValueError, match=r"as a handler of .*STARTED: takes parameters \[.*\] but will be called with \[engine"):
        engine.add_event_handler(Events.STARTED, handler, *args, **kwargs)
    assert not engine.has_event_handler(handler)


def test_a_handler_should_be_callable(engine):
    with pytest.raises(TypeError, match="A handler should be callable, got 12"):
        engine.add_event_handler(Events.STARTED, 12)


def test_a_builtin_without_a_signature_is_refused(engine):
    with pytest.raises(ValueError, match="its parameters cannot be read"):
        engine.add_event_handler(Events.STARTED, dict.update)


@contract(10)
def test_the_signature_is_looked_at_only_once(engine):
    def handler(engine):
        pass

    engine.add_event_handler(Events.ITERATION_COMPLETED, handler)
    handler.__signature__ = "no signature at all"  # whoever reads it now fails
    assert engine.run(range(3)).iteration == 3


@contract(11)
@pytest.mark.parametrize("event", list(Events))
def test_handlers_without_parameters_and_with_their_own_fit_every_event(event):
    got = []
    engine = failing_engine() if event is Events.EXCEPTION_RAISED else Engine(lambda engine, batch: batch)
    request = {Events.TERMINATE: engine.terminate, Events.INTERRUPT: engine.interrupt}.get(event, engine.terminate_epoch)
    if event in (Events.TERMINATE, Events.INTERRUPT, Events.TERMINATE_SINGLE_EPOCH):
        engine.add_event_handler(Events.ITERATION_STARTED, request)
    engine.add_event_handler(event, lambda: got.append("none"))
    engine.add_event_handler(event, lambda *, key: got.append(key), key="own")

    engine.run([0], epoch_length=2)

    assert got[:2] == ["none", "own"]


@contract(12)
def test_an_exception_comes_after_the_engine_and_before_the_own_arguments():
    engine, got = failing_engine(), []
    for handler in (
        lambda engine, e: got.append((engine, str(e))),
        lambda e: got.append(str(e)),
        lambda e=None: got.append(str(e)),
    ):
        engine.add_event_handler(Events.EXCEPTION_RAISED, handler)
    engine.add_event_handler(Events.EXCEPTION_RAISED, lambda engine, e, a, b: got.append((engine, str(e), a, b)), 1, b=2)
    engine.add_event_handler(Events.EXCEPTION_RAISED, lambda engine: got.append(engine))

    engine.run([0])

    assert got == [(engine, "boom"), "boom", "boom", (engine, "boom", 1, 2), engine]


@contract(12)
def test_the_end_of_an_epoch_passes_its_count_by_name(engine):
    got = []
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=3), lambda engine: engine.terminate_epoch())
    ended = Events.TERMINATE_SINGLE_EPOCH
    engine.add_event_handler(ended, lambda engine, iter_counter: got.append((engine, iter_counter)))
    engine.add_event_handler(ended, lambda iter_counter: got.append(iter_counter))
    engine.add_event_handler(ended, lambda engine, a, iter_counter, b: got.append((a, iter_counter, b)), "a", b="b")
    engine.add_event_handler(ended, lambda engine, **more: got.append(more))
    engine.add_event_handler(ended, lambda engine: got.append(engine))

    engine.run(range(5))

    assert got == [(engine, 3), 3, ("a", 3, "b"), {"iter_counter": 3}, engine]
    with pytest.raises(ValueError, match=r"will be called with \[engine, iter_counter=None\]"):
        engine.add_event_handler(ended, lambda engine, count: None)


@contract(13)
@pytest.mark.parametrize("event", [Events.ITERATION_COMPLETED, Events.ITERATION_COMPLETED(once=[1, 2])])
def test_arguments_arrive_as_they_were_given(engine, event):
    items, calls = [1], []

    def handler(engine, *args, **kwargs):
        calls.append((engine, args, list(kwargs.items())))

    engine.add_event_handler(event, handler, items, "b", False, z=1, a=items)
    engine.run(range(2))

    assert calls == [(engine, (items, "b", False), [("z", 1), ("a", items)])] * 2
    assert all(args[0] is items for _, args, _ in calls)


@contract("n")
def test_what_a_firing_passes_does_not_stay_with_the_handler(engine):
    engine.register_events("said", event_payload={"said": ("word",)})
    got = []
    engine.add_event_handler("said", lambda engine, word, **own: got.append((word, dict(own))), mine=1)

    for word in ("a", "b"):
        engine.fire_event("said", word)

    assert got == [("a", {"mine": 1}), ("b", {"mine": 1})]


@contract(14)
def test_handlers_run_in_the_order_of_their_registration(engine):
    ran = []
    events = [Events.ITERATION_COMPLETED, Events.ITERATION_COMPLETED(every=2), Events.ITERATION_COMPLETED(once=2)]
    for number, event in enumerate(events * 2):
        engine.add_event_handler(event, ran.append, number)

    engine.run(range(2))

    assert ran == [0, 3, 0, 1, 2, 3, 4, 5]


def decorated(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


class Listener:
    def __init__(self):
        self.got = []

    def plain(self):
        self.got.append("plain")

    def taking(self, engine):
        self.got.append(engine)

    @decorated
    def wrapped(self, engine, word):
        self.got.append((engine, word))

    def __call__(self, engine):
        self.got.append(("called", engine))


@contract(15)
@pytest.mark.parametrize("event", [Events.ITERATION_COMPLETED, Events.ITERATION_COMPLETED(once=1)])
def test_wrapped_functions_and_methods_are_seen_through(engine, event):
    listener, got = Listener(), []

    @decorated
    def handler(engine):
        got.append(engine)

    engine.add_event_handler(event, handler)
    engine.add_event_handler(event, listener.plain)
    engine.add_event_handler(event, listener.taking)
    engine.add_event_handler(event, listener.wrapped, "word")
    with pytest.raises(ValueError, match=r"takes parameters \['engine', 'word'\]"):
        engine.add_event_handler(event, listener.wrapped)
    engine.run([0])

    assert got == [engine]
    assert listener.got == ["plain", engine, (engine, "word")]


@contract(16)
@pytest.mark.parametrize("event", [Events.ITERATION_COMPLETED, Events.ITERATION_COMPLETED(once=[1, 2])])
def test_callable_objects_and_mocks_are_handlers(engine, event):
    listener, mock, spec = Listener(), MagicMock(), create_autospec(lambda engine: None)
    for handler in (listener, mock, spec, functools.partial(listener.wrapped, word="partial")):
        engine.add_event_handler(event, handler)

    engine.run(range(2))

    assert listener.got == [("called", engine), (engine, "partial")] * 2
    assert [call.args for call in mock.call_args_list] == [(engine,)] * 2
    assert [(call.args, call.kwargs) for call in spec.call_args_list] == [((engine,), {})] * 2


@contract("m")
def test_a_first_parameter_with_a_default_is_the_users_own(engine):
    got = []
    for i in range(2):
        engine.add_event_handler(Events.STARTED, lambda i=i: got.append(i))
        engine.add_event_handler(Events.STARTED, lambda _, i=i: got.append(i))
    engine.add_event_handler(Events.STARTED, lambda engine=None: got.append(engine))
    engine.add_event_handler(Events.STARTED, lambda i=None, j=None: got.append((i, j)), 7)

    engine.run([0])

    assert got == [0, 0, 1, 1, engine, (7, None)]
