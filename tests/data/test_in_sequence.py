"""Passes over a list of batches."""

import pytest

from framework.data import Shares, ordered
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


def of_ranks(world_size, data="abcde", saved=None):
    ranks = [ordered(list(data), seed=1, shares=Shares(rank, world_size)) for rank in range(world_size)]
    for each in ranks:
        if saved is not None:
            each.load_position(saved)
    return ranks


def read(ranks):
    """Returns by step: the batches that count, what they count, and the position after them."""
    steps = [[(batch, data.share, data.position()) for batch in data] for data in ranks]
    return [
        ("".join(batch for batch, share, _ in parts if share), [share for _, share, _ in parts], parts[0][2]["samples"])
        for parts in zip(*steps, strict=True)
        if all(position == parts[0][2] for *_, position in parts)
    ]


def test_several_processes_take_batches_in_turn():
    expected = [("ab", [1.0, 1.0], 2), ("cd", [1.0, 1.0], 4), ("e", [2.0, 0.0], 5)]
    ranks = of_ranks(2)
    assert read(ranks) == read(ranks) == expected
    assert [len(each) for each in ranks] == [3, 3]
    assert read(of_ranks(3)) == [("abc", [1.0, 1.0, 1.0], 3), ("de", [1.5, 1.5, 0.0], 5)]


def test_batches_of_several_sizes_count_by_their_samples():
    ranks = [ordered([[1], [2, 3, 4], [5, 6]], seed=1, shares=Shares(rank, 2, count=len)) for rank in (0, 1)]
    assert [[data.share for _ in data] for data in ranks] == [[0.5, 2.0], [1.5, 0.0]]


@pytest.mark.parametrize(
    ("saved_by", "steps", "goes_on", "rest"), [(4, 1, 2, ["ef", "gh", "i"]), (2, 1, 1, [*"cdefghi"]), (1, 3, 3, ["def", "ghi"])]
)
def test_another_number_of_processes_goes_on_where_a_step_begins(saved_by, steps, goes_on, rest):
    ranks = of_ranks(saved_by, "abcdefghi")
    done = read(ranks)[steps - 1][2]
    saved = {"epoch": 0, "samples": done, "seed": 1, "length": 9}
    assert [batches for batches, *_ in read(of_ranks(goes_on, "abcdefghi", saved))] == rest


def test_another_number_of_processes_for_which_no_step_begins_is_refused():
    saved = {"epoch": 0, "samples": 2, "seed": 1, "length": 5}
    with pytest.raises(ResumeError, match=r"saved after 2 batches of the pass, where no step of 3 processes begins: each takes"):
        iter(of_ranks(3, saved=saved)[1])
    assert read(of_ranks(3, saved={**saved, "samples": 5})) == []
