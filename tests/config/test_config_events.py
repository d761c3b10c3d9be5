"""Events in a configuration."""

import pytest

from framework import EventEnum, Events, TrainModule
from framework.config.events import read_event
from framework.config.places import Mistakes, Tree

PATH = ("fit", "save_every")


class Own(EventEnum):
    PHASE_OVER = "phase_over"


class Module(TrainModule):
    events = (Own,)


def test_events():
    mistakes = Mistakes(Tree())
    assert read_event(3, PATH, None, mistakes) == 3
    assert read_event("epoch_completed", PATH, None, mistakes) is Events.EPOCH_COMPLETED
    assert read_event("EPOCH_COMPLETED", PATH, None, mistakes) is Events.EPOCH_COMPLETED
    assert read_event({"event": "phase_over"}, PATH, Module, mistakes) is Own.PHASE_OVER
    every = read_event({"event": "iteration_completed", "every": 5, "after": 10}, PATH, Module, mistakes)
    assert (every, [count for count in range(30) if every.filter(None, count)]) == (Events.ITERATION_COMPLETED, [11, 16, 21, 26])
    once = read_event({"event": "iteration_completed", "once": [2, 4]}, PATH, Module, mistakes)
    assert [count for count in range(9) if once.filter(None, count)] == [2, 4]
    assert mistakes.found == []


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("iteration_complete", "fit.save_every is 'iteration_complete', which is no event. Did you mean iteration_completed?"),
        ("phase_over", "which is no event."),
        ({"event": 3}, "is 3, which is no event."),
        ({"every": 3}, "fit.save_every lacks event, the name of one, such as iteration_completed."),
        ({"event": "epoch_completed", "evry": 3}, "fit.save_every.evry is unknown. Did you mean every?"),
        ({"event": "epoch_completed", "every": 0}, "fit.save_every is no event: "),
        ({"event": "epoch_completed", "every": 2, "once": 2}, "fit.save_every is no event: "),
        ({"event": "epoch_completed", "once": "x"}, "fit.save_every is no event: "),
    ],
)
def test_mistakes(value, message):
    mistakes = Mistakes(Tree())
    assert read_event(value, PATH, None, mistakes) is None
    assert message in mistakes.found[0]
