"""Passes over data that saves its own state."""

import warnings

import pytest

from framework.data import ordered


class Passes:
    """As torchdata's loader: its state after the last batch, before StopIteration, is that of a pass with nothing left."""

    def __init__(self, n=4):
        self.n = n
        self.passes = self.done = 0
        self.going_on = False

    def __iter__(self):
        if not self.going_on:
            self.done = 0
        self.going_on = False
        return self._batches()

    def __len__(self):
        return self.n

    def _batches(self):
        while self.done < self.n:
            self.done += 1
            yield (self.passes, self.done)
        self.passes, self.done = self.passes + 1, 0

    def state_dict(self):
        return {"passes": self.passes, "done": self.done}

    def load_state_dict(self, state):
        self.passes, self.done, self.going_on = state["passes"], state["done"], True


@pytest.mark.fault(15)
@pytest.mark.parametrize("stop", range(4))
def test_it_goes_on_from_its_state(stop):
    data = ordered(Passes(), seed=0)
    list(data)
    reading = iter(data)
    for _ in range(stop):
        next(reading)
    saved = data.position()
    assert saved == {"epoch": 1, "state": {"passes": 1, "done": stop}}
    resumed = ordered(Passes(), seed=0)
    resumed.load_position(saved)
    assert resumed.position() == saved
    assert list(resumed) == [(1, batch) for batch in range(stop + 1, 5)]
    assert list(resumed) == [(2, batch) for batch in range(1, 5)]


@pytest.mark.fault(19)
def test_after_the_last_batch_the_state_is_that_of_the_next_pass():
    data = ordered(Passes(), seed=0)
    reading = iter(data)
    for _ in range(4):
        next(reading)
    assert data.position() == {"epoch": 0, "state": {"passes": 0, "done": 4}}  # the trap
    saved = data.position(ended=True)
    assert saved == {"epoch": 1, "state": {"passes": 1, "done": 0}}
    assert list(reading) == []
    resumed = ordered(Passes(), seed=0)
    resumed.load_position(saved)
    assert list(resumed) == list(data) == [(1, batch) for batch in range(1, 5)]


def test_a_pass_that_was_cut_short_is_read_to_its_end_and_said_once():
    data = ordered(Passes(), seed=0)
    next(iter(data))
    with pytest.warns(UserWarning, match=r"over this Passes was cut short\. .* what is left of this one is read and dropped"):
        assert data.position(ended=True) == {"epoch": 1, "state": {"passes": 1, "done": 0}}
    next(iter(data))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert data.position(ended=True) == {"epoch": 2, "state": {"passes": 2, "done": 0}}


@pytest.mark.fault(19)
def test_the_next_pass_does_not_depend_on_whether_a_position_was_asked_for():
    data = ordered(Passes(), seed=0)
    reading = iter(data)
    assert [next(reading) for _ in range(4)] == [(0, batch) for batch in range(1, 5)]  # and not asked for a fifth
    assert list(data) == [(1, batch) for batch in range(1, 5)]
    assert next(reading, None) is None


def test_a_saved_state_does_not_change_with_the_data():
    data = ordered(Passes(), seed=0)
    states = [data.position() for _ in data]
    assert [saved["state"]["done"] for saved in states] == [1, 2, 3, 4]


def test_nothing_may_be_fetched_ahead_of_the_position():
    data = ordered(Passes(), seed=0)
    assert not data.reads_ahead_safely
    assert len(data) == 4
    assert data.describe() is None
