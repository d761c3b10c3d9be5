"""Passes over a map-style DataLoader that several processes take together."""

import gc
import json
import weakref

import pytest
import torch
from augmented import AtOnce, Augmented, Bad, equal, indices
from hypothesis import given, settings, strategies as st
from loaders import KINDS
from torch.utils.data import DataLoader, DistributedSampler, Subset

from framework.data import Shares, order, ordered


class Read(Augmented):
    """Notes the samples that it is asked for."""

    def __init__(self, n):
        super().__init__(n)
        self.asked = []

    def __getitem__(self, index):
        self.asked.append(index)
        return super().__getitem__(index)


def of_rank(make, rank, world_size, whole=False, **options):
    return ordered(make(), 7, shares=Shares(rank, world_size, whole), **options)


def read(data):
    """Returns of each batch of a pass what it is, what it counts and where the data is after it."""
    return [(batch, data.share, data.position()) for batch in data]


def together(make, world_size, passes=1, saved=None, **options):
    """Returns by pass and step: the samples that count, in the order of ranks, and the position after it."""
    ranks = [of_rank(make, rank, world_size, **options) for rank in range(world_size)]
    for data in ranks:
        if saved is not None:
            data.load_position(json.loads(json.dumps(saved)))
    found = []
    for _ in range(passes):
        steps = []
        for parts in zip(*map(read, ranks), strict=True):
            assert sum(share for _, share, _ in parts) == pytest.approx(world_size)
            assert len({json.dumps(position) for *_, position in parts}) == 1
            steps.append((torch.cat([batch for batch, share, _ in parts if share]), parts[0][2]))
        assert saved is not None or len(steps) == len(ranks[0])
        found.append(steps)
    for data in ranks:
        data.close()
    return found


def samples_of(steps):
    return [[int(index) for index in batch[:, 0]] for batch, _ in steps]


SPLIT = sorted(set(KINDS) - {"distributed"})


@given(
    kind=st.sampled_from(SPLIT),
    n=st.integers(1, 40),
    size=st.integers(1, 5),
    world_size=st.integers(1, 4),
    drop_last=st.booleans(),
    whole=st.booleans(),
)
@settings(max_examples=80, deadline=None, derandomize=True, database=None)
def test_all_together_take_the_steps_of_one_process(kind, n, size, world_size, drop_last, whole):
    step = size * world_size

    def make(batch_size=step if whole else size):
        return KINDS[kind](n, batch_size=batch_size, drop_last=drop_last)

    one = ordered(make(step), 7)
    expected = [[indices([batch]) for batch in one] for _ in range(2)]
    found = together(make, world_size, passes=2, whole=whole)
    assert [samples_of(steps) for steps in found] == expected


@pytest.mark.fault(20)
@given(n=st.integers(1, 30), world_size=st.integers(1, 4), again=st.integers(1, 4), data=st.data())
@settings(max_examples=40, deadline=None, derandomize=True, database=None)
def test_a_position_fits_any_number_of_processes_and_one(n, world_size, again, data):
    def make(processes):
        return lambda: KINDS["shuffled"](n, batch_size=12 // processes)

    (steps,) = together(make(world_size), world_size, seeding="sample")
    stop = data.draw(st.integers(0, len(steps) - 1), label="steps before")
    saved = steps[stop][1]
    assert saved == {"epoch": 0, "samples": min(12 * (stop + 1), n), "seed": 7, "length": n}
    rest, following = together(make(again), again, passes=2, saved=saved, seeding="sample")
    assert equal([batch for batch, _ in rest], [batch for batch, _ in steps[stop + 1 :]])
    one = ordered(make(1)(), 7, seeding="sample")
    one.load_position(saved)
    assert equal(list(one), [batch for batch, _ in rest])
    assert equal(list(one), [batch for batch, _ in following])


@pytest.mark.parametrize("seeding", ["batch", "sample"])
def test_workers_change_nothing(seeding):
    def make(workers):
        return lambda: KINDS["shuffled"](21, batch_size=4, num_workers=workers)

    for rank in range(2):
        here, there = (of_rank(make(workers), rank, 2, seeding=seeding) for workers in (0, 2))
        for _ in range(2):
            one, other = read(here), read(there)
            assert equal([batch for batch, *_ in one], [batch for batch, *_ in other])
            assert [rest for _, *rest in one] == [rest for _, *rest in other]
        there.close()


def test_a_seed_a_sample_gives_the_same_samples_at_any_number_of_processes():
    def make(size):
        return lambda: KINDS["shuffled"](23, batch_size=size)

    runs = [together(make(8 // ways), ways, passes=2, seeding="sample") for ways in (1, 2, 4)]
    for run in runs[1:]:
        for steps, expected in zip(run, runs[0], strict=True):
            assert equal([batch for batch, _ in steps], [batch for batch, _ in expected])


def test_the_ranks_draw_apart_and_one_of_one_draws_as_without_shares():
    def make():
        return KINDS["shuffled"](24, batch_size=3)

    (steps,) = together(make, 4)
    assert len(torch.cat([batch for batch, _ in steps])[:, 1].unique()) == 24
    assert equal(list(of_rank(make, 0, 1)), list(ordered(make(), 7)))


@pytest.mark.parametrize("options", [{"shuffle": True}, {}, {"shuffle": True, "drop_last": True}])
def test_no_process_reads_a_sample_of_another(options):
    asked = []
    for rank in range(3):
        data = Read(20)
        list(of_rank(lambda data=data: DataLoader(data, batch_size=4, **options), rank, 3))
        asked += data.asked
    assert sorted(asked) == sorted(set(asked))
    assert len(asked) == (12 if options.get("drop_last") else 20)


def test_a_rank_with_nothing_left_takes_part_with_the_last_sample():
    data = of_rank(lambda: KINDS["shuffled"](9, batch_size=4), 1, 2)
    reading = iter(data)
    assert data.share == 1.0
    next(reading)
    assert (data.share, data.indices_at(0)) == (1.0, order(9, seed=7, epoch=0)[4:8])
    last = next(reading)
    assert indices([last]) == data.indices_at(1) == order(9, seed=7, epoch=0)[8:]
    assert data.share == 0.0
    assert next(reading, None) is None
    assert data.share == 0.0  # until the next is handed out
    next(iter(data))
    assert data.share == 1.0


def test_uneven_parts_count_by_their_samples():
    shares = [[share for _, share, _ in read(of_rank(lambda: DataLoader(AtOnce(7), 2), rank, 3))] for rank in range(3)]
    assert shares == [[1.0, 3.0], [1.0, 0.0], [1.0, 0.0]]
    shares = [[share for _, share, _ in read(of_rank(lambda: DataLoader(AtOnce(4), 2), rank, 3))] for rank in range(3)]
    assert shares == [[1.5], [0.75], [0.75]]


def test_traits_are_those_of_one_process_at_the_same_step_size():
    one = ordered(KINDS["shuffled"](9, batch_size=8), 7).traits()
    assert one == {"batch size": 8, "sampler": "RandomSampler"}
    assert of_rank(lambda: KINDS["shuffled"](9, batch_size=2), 1, 4).traits() == one
    assert of_rank(lambda: KINDS["shuffled"](9, batch_size=8), 1, 4, whole=True).traits() == one
    assert of_rank(lambda: KINDS["shuffled"](9, batch_size=None), 1, 4).traits()["batch size"] is None


def test_a_line_says_what_becomes_of_a_distributed_sampler():
    def make(**options):
        return DataLoader(Augmented(9), sampler=DistributedSampler(Augmented(9), 2, 1, **options))

    assert of_rank(make, 0, 2).describe() == "DistributedSampler -> order by seed and pass, split over 2 processes"
    assert of_rank(lambda: make(shuffle=False), 0, 2).describe() == "DistributedSampler -> split over 2 processes"
    assert of_rank(lambda: KINDS["replaced"](4), 0, 2).describe() == "RandomSampler -> order by seed and pass"
    assert of_rank(lambda: KINDS["shuffled"](4), 0, 2).describe() is None


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_names_the_sample_of_the_users_dataset(workers):
    data = Subset(Bad(ValueError("unreadable"), n=100, bad=77), range(99, -1, -1))
    ranks = [of_rank(lambda: DataLoader(data, batch_size=10, num_workers=workers), rank, 2) for rank in (0, 1)]
    assert len(list(ranks[1])) == 5
    with pytest.raises(ValueError, match="unreadable") as info:
        list(ranks[0])
    assert "sample 77 of Bad" in str(info.value) + "".join(getattr(info.value, "__notes__", []))
    for each in ranks:
        each.close()


def test_a_fetch_that_was_broken_off_loses_no_batch_and_no_share():
    def make():
        return KINDS["shuffled"](23, batch_size=4)

    whole = read(of_rank(make, 0, 2))
    data = of_rank(make, 0, 2)
    reading = iter(data)
    next(reading)
    fetch = data._state[0].fetch

    def interrupted():
        fetch()
        raise KeyboardInterrupt

    data._state[0].fetch = interrupted
    with pytest.raises(KeyboardInterrupt):
        next(reading)
    data.load_position(data.position())
    again = read(data)
    assert equal([batch for batch, *_ in again], [batch for batch, *_ in whole[1:]])
    assert [rest for _, *rest in again] == [rest for _, *rest in whole[1:]]
    data.rewind()
    assert equal(list(data), [batch for batch, *_ in whole])


def test_it_is_not_kept_by_what_it_hands_out():
    gc.disable()
    try:
        data = of_rank(lambda: KINDS["shuffled"](9, batch_size=2), 0, 2)
        reading, gone = iter(data), weakref.ref(data)
        next(reading)
        del data, reading
        assert gone() is None
    finally:
        gc.enable()
