"""The place of a run: the event it stopped after, and durations without the pause."""

import pytest

from framework.engine.events import Events
from framework.engine.position import Position


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("framework.engine.position.perf_counter", lambda: now[0])
    return now


def test_a_new_one_is_at_the_beginning(clock):
    data = [1, 2]
    position = Position(data)
    assert position.data is data
    assert (position.after, position.feed, position.epoch_start, position.restart) == (None, None, 0, None)
    assert (position.refilled, position.used_up, position.repeat_event) == (False, False, False)
    assert position.run_began == position.epoch_began == 100.0


def test_the_time_of_a_pause_is_taken_out(clock):
    position = Position(None)
    clock[0] = 107.0
    position.epoch_began = 105.0
    position.pause(Events.ITERATION_COMPLETED)
    assert position.after == Events.ITERATION_COMPLETED
    clock[0] = 150.0
    position.resume()
    assert (clock[0] - position.run_began, clock[0] - position.epoch_began) == (7.0, 2.0)


def test_a_pause_at_the_beginning_has_no_event(clock):
    position = Position(None)
    position.pause(Events.STARTED)
    position.pause(None)
    assert position.after is None
