"""Passes over a list of batches."""

import pytest

from framework.data import ordered
from framework.data.in_sequence import InSequence
from framework.errors import ResumeError


class Counted(list):
    """Counts the batches that are read."""

    read = 0

    def __getitem__(self, index):
        self.read += 1
        return super().__getitem__(index)


@pytest.mark.parametrize("at", range(5))
def test_the_rest_comes_from_any_batch_on_and_nothing_before_it_is_read(at):
    data = ordered(["a", "b", "c", "d"], seed=1)
    batches = iter(data)
    for _ in range(at):
        next(batches)
    saved = data.position()
    assert saved == {"epoch": 0, "samples": at, "seed": 1, "length": 4}
    counted = Counted("abcd")
    resumed = ordered(counted, seed=1)
    resumed.load_position(saved)
    assert list(resumed) == list("abcd")[at:]
    assert counted.read == 4 - at
    assert list(resumed) == list("abcd")


def test_a_tuple_is_one_too_and_has_a_length():
    data = ordered(("a", "b"), seed=1)
    assert isinstance(data, InSequence)
    assert len(data) == 2
    assert data.describe() is data.indices_at(0) is None
    assert data.workers() == []


def test_another_length_is_refused():
    saved = ordered(["a", "b"], seed=1).position()
    with pytest.raises(ResumeError, match="saved with length 2, and that of this data is 3"):
        ordered(["a", "b", "c"], seed=1).load_position(saved)
