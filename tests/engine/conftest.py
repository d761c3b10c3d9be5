"""What the engine's tests share: engines that write down what they do, and requests made at a chosen moment."""

from itertools import count

import pytest

from framework.engine import Engine, Events


def make_traced_engine(step=None, engine_class=Engine, events=None):
    """Returns an engine and its trace: the names of its events, and "step" for the process function.

    EXCEPTION_RAISED is left out unless it is asked for: a handler there would swallow what a test should see.
    """
    trace = []

    def process(engine, batch):
        trace.append("step")
        return batch if step is None else step(engine, batch)

    def note(name):
        trace.append(name)

    engine = engine_class(process)
    for event in events or [event for event in Events if event is not Events.EXCEPTION_RAISED]:
        engine.add_event_handler(event, note, event.name)
    return engine, trace


def call_at(engine, event, request, nth=1):
    """Has `request(engine)` called at the `nth` firing of `event`, after the handlers registered so far."""
    firings = count(1)

    def handler(engine):
        if next(firings) == nth:
            request(engine)

    engine.add_event_handler(event, handler)


class Unsized:
    """Batches 0, 1, ... of a length that nobody knows before the end; every `iter` starts from the beginning."""

    def __init__(self, length):
        self._length = length

    def __iter__(self):
        yield from range(self._length)


@pytest.fixture(scope="session")
def traced():
    return make_traced_engine


@pytest.fixture(scope="session")
def at():
    return call_at


@pytest.fixture(scope="session")
def unsized():
    return Unsized


@pytest.fixture
def engine():
    """An engine whose step returns its batch."""
    return Engine(lambda engine, batch: batch)
