"""Several processes, played by threads that meet in each exchange."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from framework import CheckpointError
from framework.checkpoint.together import together


class Peer:
    """One of several threads that exchange values."""

    def __init__(self, rank, values, barrier):
        self.rank, self.is_main = rank, rank == 0
        self._values, self._barrier = values, barrier

    def exchange(self, tag, value=None):
        self._values[self.rank] = (tag, value)
        self._barrier.wait(10)
        found = list(self._values)
        self._barrier.wait(10)
        assert {tag for tag, _ in found} == {tag}
        return [value for _, value in found]


def among(size, actions):
    """Returns for each rank what `together` returned or raised."""
    values, barrier = [None] * size, Barrier(size)

    def run(rank):
        try:
            return together(Peer(rank, values, barrier), "the work", actions[rank])
        except Exception as error:  # noqa: BLE001 # looked at
            return error

    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(run, range(size)))


def failing(error):
    def action():
        raise error

    return action


def test_each_gets_what_all_have_got():
    assert among(3, [lambda: "a", lambda: "b", lambda: "c"]) == [["a", "b", "c"]] * 3
    assert together(None, "the work", lambda: "a") == ["a"]


def test_what_fails_in_one_fails_in_all_and_is_named():
    own = OSError(28, "No space left on device")
    found = among(3, [lambda: 1, failing(own), lambda: 3])
    assert found[1] is own
    words = "Rank 1 could not do its part of the work, so nothing came of it: OSError: [Errno 28] No space left on device"
    assert [str(found[0]), str(found[2])] == [words] * 2
    assert {type(found[0]), type(found[2])} == {CheckpointError}
    both = among(2, [failing(own), failing(CheckpointError("not here"))])
    assert [str(each) for each in both] == ["[Errno 28] No space left on device", "not here"]
    with pytest.raises(OSError, match="No space left"):
        together(None, "the work", failing(own))
