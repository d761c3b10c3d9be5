import pytest
from torch.distributed import HashStore

from framework.distributed import heartbeat as heartbeat_file
from framework.distributed.heartbeat import Heartbeat


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(heartbeat_file, "monotonic", clock)
    monkeypatch.setattr(heartbeat_file, "SILENT_S", 20.0)
    return clock


def beats(clock, passed_s, *hearts):
    clock.now += passed_s
    return [heart.beat() for heart in hearts]


def test_a_rank_that_beats_is_heard_and_one_that_stops_is_noticed_by_the_one_before_it(clock):
    store = HashStore()
    first, second, third = (Heartbeat(store, rank, 3) for rank in range(3))
    for _ in range(30):
        assert beats(clock, 3, first, second, third) == [False] * 3
    told = [beats(clock, 3, first, second) for _ in range(8)]  # in the first of these turns its last beat is heard
    assert told == [[False, False]] * 7 + [[False, True]]
    assert beats(clock, 3, first, second, third) == [False, True, False]
    assert beats(clock, 3, first, second, third) == [False] * 3


def test_it_talks_to_the_store_no_more_often_than_it_has_to(clock):
    store = HashStore()
    heart = Heartbeat(store, 0, 2)
    for _ in range(20):
        beats(clock, 0.5, heart)
    assert store.add("beat/0", 0) == 5


def test_processes_that_were_suspended_together_have_not_been_silent(clock):
    store = HashStore()
    first, second = (Heartbeat(store, rank, 2) for rank in range(2))
    beats(clock, 3, first, second)
    assert beats(clock, 3600, first, second) == [False, False]
