"""The steps of all processes, split or dealt out."""

import gc
import weakref
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch.utils.data import BatchSampler

from framework.data.dealt import Dealing, dealt, from_step, split, split_order
from framework.data.shares import Shares
from framework.errors import ResumeError


def of_ranks(world_size, cut):
    """Returns by step what each rank gets."""
    return list(zip(*(list(cut(Shares(rank, world_size))) for rank in range(world_size)), strict=True))


def counted(parts):
    return [index for item, _, share in parts if share for index in item]


@given(sizes=st.lists(st.integers(1, 9), max_size=6), world_size=st.integers(1, 4))
@settings(deadline=None, derandomize=True, database=None)
def test_the_parts_of_a_step_are_the_step(sizes, world_size):
    steps = [[100 * number + index for index in range(size)] for number, size in enumerate(sizes)]
    given_out = of_ranks(world_size, lambda shares: split(steps, shares))
    assert len(given_out) == len(steps)
    for step, parts in zip(steps, given_out, strict=True):
        assert counted(parts) == step
        assert all(samples == len(step) for _, samples, _ in parts)
        assert [share for _, _, share in parts] == [len(item) * world_size / len(step) * bool(share) for item, _, share in parts]
        assert sum(share for _, _, share in parts) == pytest.approx(world_size)
        assert all(item == step[-1:] for item, _, share in parts if not share)


@given(sizes=st.lists(st.integers(1, 9), max_size=9), world_size=st.integers(1, 4))
@settings(deadline=None, derandomize=True, database=None)
def test_whole_batches_are_dealt_in_turn(sizes, world_size):
    batches = [[100 * number + index for index in range(size)] for number, size in enumerate(sizes)]
    given_out = of_ranks(world_size, lambda shares: dealt(iter(batches), shares, len))
    assert [counted(parts) for parts in given_out] == [
        [index for batch in batches[first : first + world_size] for index in batch] for first in range(0, len(batches), world_size)
    ]
    for number, parts in enumerate(given_out):
        last = batches[: (number + 1) * world_size][-1]
        assert all(item == last for item, _, share in parts if not share)
        assert sum(share for _, _, share in parts) == pytest.approx(world_size)
        assert {samples for _, samples, _ in parts} == {len(counted(parts))}


def test_batches_that_are_not_counted_count_the_same():
    assert list(dealt(iter("abc"), Shares(1, 2), None)) == [("b", 2, 1.0), ("c", 1, 0.0)]
    assert list(dealt(iter("abc"), Shares(0, 2), None)) == [("a", 2, 1.0), ("c", 1, 2.0)]


def test_what_is_empty_counts_as_one():
    assert list(split([[]], Shares(1, 2))) == [([], 0, 1.0)]
    assert list(dealt(iter([[]]), Shares(0, 1), len)) == [([], 0, 1.0)]


@given(n=st.integers(0, 30), size=st.integers(1, 5), world_size=st.integers(1, 4), drop_last=st.booleans())
@settings(deadline=None, derandomize=True, database=None)
def test_an_order_is_split_as_its_steps_are(n, size, world_size, drop_last):
    order, step = torch.randperm(n), size * world_size
    for rank in range(world_size):
        for whole in (order, range(5, 5 + n)):
            steps = list(BatchSampler([int(index) for index in whole], step, drop_last))
            parts = list(split_order(whole, step, drop_last, Shares(rank, world_size)))
            assert parts == list(split(steps, Shares(rank, world_size)))
            assert all(type(index) is int for part, *_ in parts for index in part)


def test_few_batches_are_held_at_a_time():
    class Batch:
        pass

    alive = weakref.WeakSet()

    def batches():
        for _ in range(12):
            batch = Batch()
            alive.add(batch)
            most.append(len(alive))
            yield batch

    most = []
    gc.disable()
    try:
        for _ in dealt(batches(), Shares(1, 4), None):
            pass
    finally:
        gc.enable()
    assert max(most) <= 4


def test_a_step_begins_where_a_step_begins():
    assert list(from_step(iter("cd"), 2, Shares(0, 2))) == ["c", "d"]
    assert list(from_step(iter(""), 3, Shares(0, 2))) == []
    message = "saved after 3 batches of the pass, where no step of 2 processes begins: .* processes that divides 3, such as"
    with pytest.raises(ResumeError, match=message):
        from_step(iter("d"), 3, Shares(0, 2))


def test_what_a_batch_counts_is_said_when_it_is_handed_out():
    data = SimpleNamespace(share=None)
    dealing = Dealing(split([[1, 2], [3], [4, 5]], Shares(1, 2)))
    items = list(dealing)  # all are given before the first is handed out, as workers ask for them
    fetch = dealing.handing_out(iter(items).__next__, data)
    said = [(fetch(), data.share) for _ in items]
    assert said == [([2], 1.0), ([3], 0.0), ([5], 1.0)]
    with pytest.raises(StopIteration):
        fetch()
    assert data.share == 1.0


def test_the_size_of_a_step_is_known_when_its_part_is_given():
    dealing = Dealing(split([[1, 2], [3]], Shares(1, 2)))
    assert [dealing.size(item) for item in dealing] == [2, 1]
