"""Passes over iterables that can only be read from their start."""

import random

import pytest
import torch
from augmented import Augmented, Stream, equal, same, scramble, states
from torch.utils.data import DataLoader

from framework.data import Shares, ordered
from framework.errors import ResumeError
from framework.seeding import set_random_state


class Shuffles:
    """Draws an order at the start of each pass, and numbers on the way."""

    def __init__(self, n=6):
        self.n = n

    def __iter__(self):
        for index in random.sample(range(self.n), self.n):
            yield index, float(torch.rand(()))

    def __len__(self):
        return self.n


class Own(DataLoader):
    """A loader with an iteration of its own, and perhaps a generator."""

    def __iter__(self):
        return super().__iter__()


def go_on(make, saved, streams):
    """Returns the rest of a pass in a new process, which puts the global streams back as they were."""
    scramble()
    data = ordered(make(), seed=1)
    data.load_position(saved)
    with pytest.warns(UserWarning, match="can only be read from its start"):
        reading = iter(data)
    set_random_state(streams)
    return data, reading


@pytest.mark.fault(15)
@pytest.mark.parametrize("stop", [1, 3, 6])
@pytest.mark.parametrize(
    "make",
    [
        Shuffles,
        lambda: DataLoader(Stream(12), batch_size=2),
        lambda: DataLoader(Stream(12), batch_size=2, num_workers=1),
        lambda: Own(Augmented(12), batch_size=2, shuffle=True),
    ],
)
def test_the_rest_is_read_from_the_states_at_the_start_of_the_pass(make, stop):
    data = ordered(make(), seed=1)
    list(data)
    reading = iter(data)
    for _ in range(stop):
        next(reading)
        torch.rand(3)  # a step draws from the same streams
    saved, streams = data.position(), states()
    rest = list(reading)
    following = list(data)
    again, resumed = go_on(make, saved, streams)
    as_lists = [[torch.as_tensor(part) for batch in batches for part in batch] for batches in (rest, following)]
    assert equal([torch.as_tensor(part) for batch in resumed for part in batch], as_lists[0])
    assert equal([torch.as_tensor(part) for batch in again for part in batch], as_lists[1])
    data.close()
    again.close()


def test_reading_forward_leaves_the_current_streams_and_says_how_much_it_reads():
    data = ordered(Shuffles(), seed=1)
    reading = iter(data)
    for _ in range(4):
        next(reading)
    saved = data.position()
    assert (saved["epoch"], saved["batches"]) == (0, 4)
    data.load_position(saved)
    scramble()
    before = states()
    with pytest.warns(UserWarning, match=r"4 batches are read and dropped to go on inside pass 0: this Shuffles can only be read"):
        iter(data)
    assert same(before, states())
    assert data.position() == saved


def test_a_pass_that_had_only_begun_is_begun_again_in_silence():
    data = ordered(DataLoader(Stream(), batch_size=3), seed=1)
    iter(data)
    saved = data.position()
    assert saved["batches"] == 0
    scramble()
    before = states()
    data.load_position(saved)
    iter(data)
    assert same(before, states())


def test_between_two_passes_there_is_nothing_to_put_back():
    data = ordered(Shuffles(), seed=1)
    list(data)
    assert data.position() == {"epoch": 1, "batches": 0, "random": None, "generator": None}
    data.load_position(data.position())
    random.seed(3)
    first = list(data)
    random.seed(3)
    assert [index for index, _ in first] == random.sample(range(6), 6)


def test_a_generator_of_the_loaders_own_is_part_of_the_position():
    def make(seed):
        return Own(Augmented(12), batch_size=2, shuffle=True, generator=torch.Generator().manual_seed(seed))

    data = ordered(make(5), seed=1)
    list(data)
    between = data.position()
    reading = iter(data)
    second = [next(reading)[:, 0].tolist() for _ in range(2)]
    inside = data.position()
    second += [batch[:, 0].tolist() for batch in reading]
    again = ordered(make(6), seed=1)
    again.load_position(between)
    assert [batch[:, 0].tolist() for batch in again] == second
    again = ordered(make(6), seed=1)
    again.load_position(inside)
    with pytest.warns(UserWarning, match="2 batches are read and dropped"):
        assert [batch[:, 0].tolist() for batch in again] == second[2:]


def test_data_that_has_become_shorter_is_refused():
    data = ordered(Shuffles(6), seed=1)
    reading = iter(data)
    for _ in range(5):
        next(reading)
    shorter = ordered(Shuffles(3), seed=1)
    shorter.load_position(data.position())
    before = states()
    with (
        pytest.warns(UserWarning, match="5 batches are read"),
        pytest.raises(ResumeError, match="saved after 5 batches of the pass, and this Shuffles ends after 3"),
    ):
        iter(shorter)
    assert same(before, states())


def test_what_it_knows_of_itself():
    assert len(ordered(Shuffles(), seed=1)) == 6
    assert ordered(Shuffles(), seed=1).reads_ahead_safely
    assert not ordered(iter([1]), seed=1).reads_ahead_safely
    assert ordered(Shuffles(), seed=1).workers() == []
    with pytest.raises(TypeError, match="has no len"):
        len(ordered(iter([1]), seed=1))


def test_the_workers_of_an_iterable_dataset_are_watched_and_the_users_loader_has_none():
    loader = DataLoader(Stream(), batch_size=3, num_workers=1, persistent_workers=True)
    data = ordered(loader, seed=1)
    reading = iter(data)
    next(reading)
    (worker,) = data.workers()
    assert worker.is_alive()
    assert loader._iterator is None
    data.close()
    assert data.workers() == []
    assert not worker.is_alive()


def of_ranks(make, world_size, saved=None):
    """Returns the data of each rank, and by rank the batches of a pass with what they count and the positions after them.

    The global streams of the ranks differ, as those of two processes do.
    """
    ranks, found = [], []
    for rank in range(world_size):
        data = ordered(make(), seed=1, shares=Shares(rank, world_size))
        if saved is not None:
            data.load_position(saved)
        scramble()
        before = states()
        found.append([(batch, data.share, data.position()) for batch in data])
        assert same(before, states())
        data.close()
        ranks.append(data)
    return ranks, found


def taken(found):
    """Returns by step the batches that count, in the order of ranks."""
    return [[torch.as_tensor(batch).tolist() for batch, share, _ in parts if share] for parts in zip(*found, strict=True)]


ITERABLES = {
    "drawn from the streams": lambda: Shuffles(7),
    "a loader": lambda: DataLoader(Stream(14), batch_size=2),
    "with workers": lambda: DataLoader(Stream(7), batch_size=2, num_workers=2),  # each reads all
    "a loader of its own": lambda: Own(Augmented(14), batch_size=2, shuffle=True),
}


@pytest.mark.parametrize("name", ITERABLES)
def test_several_processes_read_the_same_and_keep_some(name):
    make = ITERABLES[name]
    (one,), pairs, threes = (of_ranks(make, world_size)[1] for world_size in (1, 2, 3))
    batches = [torch.as_tensor(batch).tolist() for batch, *_ in one]
    assert len(batches) in (7, 8)
    for world_size, found in ((2, pairs), (3, threes)):
        assert taken(found) == [batches[first : first + world_size] for first in range(0, len(batches), world_size)]
        assert all(position == found[0][step][2] for rank in found for step, (*_, position) in enumerate(rank))
        assert found[0][-1][2]["batches"] == len(batches)
        assert sum(rank[-1][1] for rank in found) == world_size


def test_another_pass_draws_other_batches():
    data = ordered(Shuffles(), seed=1, shares=Shares(0, 2))
    assert list(data) != list(data)


@pytest.mark.parametrize(("saved_by", "steps", "goes_on"), [(2, 2, 2), (4, 1, 2), (2, 1, 1), (1, 2, 2), (2, 4, 3)])
@pytest.mark.parametrize("name", ["drawn from the streams", "a loader of its own"])
def test_another_number_of_processes_goes_on(name, saved_by, steps, goes_on):
    make = ITERABLES[name]
    _, found = of_ranks(make, saved_by)
    saved = found[0][steps - 1][2]
    assert saved["batches"] == min(saved_by * steps, 7)
    with pytest.warns(UserWarning, match=f"{saved['batches']} batches are read and dropped"):
        _, rest = of_ranks(make, goes_on, saved)
    whole = [batch for step in taken(found) for batch in step]
    assert [batch for step in taken(rest) for batch in step] == whole[saved["batches"] :]
    assert [position["batches"] for *_, position in rest[0]][-1:] == [7][: len(rest[0])]


@pytest.mark.parametrize("world_size", [1, 2])
def test_one_process_and_several_go_on_with_the_order_of_each_other(world_size):
    make = ITERABLES["a loader of its own"]
    _, found = of_ranks(make, 2)
    one = ordered(make(), seed=1)
    one.load_position(found[0][0][2])
    with pytest.warns(UserWarning, match="2 batches are read and dropped"):
        assert [batch.tolist() for batch in one] == [batch for step in taken(found)[1:] for batch in step]
    assert len(list(one)) == 7  # the next pass draws from the global streams again
    assert one.position()["random"] is None

    data = ordered(make(), seed=1)
    reading = iter(data)
    first = [next(reading)[:, 0].tolist() for _ in range(2)]
    saved = data.position()
    with pytest.warns(UserWarning, match="2 batches are read and dropped"):
        _, rest = of_ranks(make, world_size, saved)
    indices = [[row[0] for row in batch] for step in taken(rest) for batch in step]
    assert indices == [batch[:, 0].tolist() for batch in reading]
    assert sorted(index for batch in (*first, *indices) for index in batch) == list(range(14))


def test_a_position_where_no_step_begins_is_refused():
    saved = {"epoch": 0, "batches": 3, "random": None, "generator": None}
    data = ordered(Shuffles(7), seed=1, shares=Shares(0, 2))
    data.load_position(saved)
    with (
        pytest.warns(UserWarning, match="3 batches are read"),
        pytest.raises(ResumeError, match="saved after 3 batches of the pass, where no step of 2 processes begins"),
    ):
        iter(data)


def test_what_several_processes_know_of_it():
    data = ordered(Shuffles(7), seed=1, shares=Shares(0, 3))
    assert len(data) == 3
    assert data.describe() == "3 processes each read all batches, and keep one in 3"
    assert data.traits() == {}
    assert ordered(Shuffles(7), seed=1).describe() is None
    assert ordered(DataLoader(Stream(), batch_size=4), seed=1, shares=Shares(0, 3)).traits()["batch size"] == 12
