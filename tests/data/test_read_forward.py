"""Passes over iterables that can only be read from their start."""

import random

import pytest
import torch
from augmented import Augmented, Stream, equal, same, scramble, states
from torch.utils.data import DataLoader

from framework.data import ordered
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
