"""The indices of a pass as a function of its seed."""

import random
from itertools import islice

import numpy
import pytest
import torch
from augmented import Augmented, same, scramble, states
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

from framework.data import order
from framework.data.samplers import Indices, drawn, sampler_of
from framework.errors import ResumeError
from framework.seeding import derive_seed

DATA = Augmented(10)


class Asked(RandomSampler):
    """Counts what it was asked for; no exact type of torch's, so it draws from the global streams."""

    asked = 0

    def __iter__(self):
        while True:
            self.asked += 1
            yield random.randrange(10) + 10 * int(numpy.random.randint(10)) + 100 * int(torch.randint(10, ()))


class Sizes:
    """Batches of sizes that it draws."""

    def __iter__(self):
        left = list(range(40))
        while left:
            size = random.randint(1, 4)
            yield left[:size]
            left = left[size:]


class WithEpoch(Sizes):
    def set_epoch(self, epoch):
        self.epoch = epoch


class Wrapped(BatchSampler):
    """A batch sampler of the user's around another sampler."""


def draw(loader, samples=0, number=2, seed=5):
    items, skipped = Indices(loader).draw(number, derive_seed(seed, number), samples)
    return list(islice(items, 50)), skipped


SAMPLERS = {
    "sequential": lambda: SequentialSampler(DATA),
    "shuffled": lambda: RandomSampler(DATA),
    "longer": lambda: RandomSampler(DATA, num_samples=25),
    "shorter": lambda: RandomSampler(DATA, num_samples=7),
    "replaced": lambda: RandomSampler(DATA, replacement=True, num_samples=40),
    "subset": lambda: SubsetRandomSampler([3, 5, 7, 9, 1]),
    "weighted": lambda: WeightedRandomSampler(torch.arange(10.0), 30),
    "distributed": lambda: DistributedSampler(DATA, num_replicas=3, rank=1),
    "distributed, last dropped": lambda: DistributedSampler(DATA, num_replicas=3, rank=1, drop_last=True),
    "distributed, in order": lambda: DistributedSampler(DATA, num_replicas=3, rank=1, shuffle=False),
    "list": lambda: [4, 2, 8, 8],
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_each_sampler_follows_from_the_seed_and_skips_samples(name):
    scramble()
    before = states()
    whole, skipped = draw(DataLoader(DATA, sampler=SAMPLERS[name](), batch_size=None))
    assert skipped == 0
    assert len(whole) == len(SAMPLERS[name]())
    for samples in (1, 3, len(whole)):
        assert draw(DataLoader(DATA, sampler=SAMPLERS[name](), batch_size=None), samples) == (whole[samples:], samples)
    batched = DataLoader(DATA, sampler=SAMPLERS[name](), batch_size=2)
    assert draw(batched)[0] == [whole[first : first + 2] for first in range(0, len(whole), 2)]
    assert draw(batched, 2) == (draw(batched)[0][1:], 1)
    assert same(before, states())


@pytest.mark.parametrize("name", ["sequential", "distributed, in order", "list"])
def test_what_draws_nothing_is_not_said_to_be_replaced(name):
    indices = Indices(DataLoader(DATA, sampler=SAMPLERS[name]()))
    assert indices.replaced is None


@pytest.mark.parametrize(
    ("name", "said"), [("replaced", "RandomSampler"), ("weighted", "WeightedRandomSampler"), ("distributed", "DistributedSampler")]
)
def test_what_is_replaced_is_said(name, said):
    assert Indices(DataLoader(DATA, sampler=SAMPLERS[name]())).replaced == said


@pytest.mark.parametrize("name", ["shuffled", "replaced", "subset", "weighted", "distributed"])
def test_another_pass_or_seed_gives_another_order_and_the_users_sampler_is_not_touched(name):
    sampler = SAMPLERS[name]()
    before = dict(vars(sampler))
    loader = DataLoader(DATA, sampler=sampler, batch_size=None)
    first = draw(loader)
    assert first == draw(loader)
    assert first not in (draw(loader, number=3), draw(loader, seed=6))
    assert vars(sampler).keys() == before.keys()
    assert all(vars(sampler)[key] is before[key] for key in before)


def test_a_shuffled_order_is_that_of_order():
    loader = DataLoader(DATA, shuffle=True, batch_size=None)
    assert draw(loader)[0] == order(10, seed=5, epoch=2)
    longer = DataLoader(DATA, sampler=SAMPLERS["longer"](), batch_size=None)
    assert draw(longer)[0][:10] == order(10, seed=5, epoch=2)
    assert sorted(draw(longer)[0][:20]) == sorted([*range(10)] * 2)


def test_the_ranks_of_a_distributed_sampler_share_the_order():
    ranks = [
        draw(DataLoader(DATA, sampler=DistributedSampler(DATA, num_replicas=2, rank=rank), batch_size=None))[0] for rank in (0, 1)
    ]
    assert [index for pair in zip(*ranks, strict=True) for index in pair] == order(10, seed=5, epoch=2)


def test_drop_last_is_kept():
    loader = DataLoader(DATA, shuffle=True, batch_size=4, drop_last=True)
    assert [len(batch) for batch in draw(loader)[0]] == [4, 4]
    assert draw(loader, samples=8) == ([], 2)


def test_the_last_short_batch_counts_as_one():
    assert draw(DataLoader(DATA, shuffle=True, batch_size=4), samples=10) == ([], 3)


def test_batches_as_items_of_a_loader_without_batches():
    loader = DataLoader(DATA, sampler=BatchSampler(RandomSampler(DATA), 4, drop_last=False), batch_size=None)
    indices = Indices(loader)
    assert indices.in_batches
    assert indices.length == 10
    whole, _ = draw(loader)
    assert [index for batch in whole for index in batch] == order(10, seed=5, epoch=2)
    assert draw(loader, samples=4) == (whole[1:], 1)


def test_a_sampler_of_the_users_is_asked_little_ahead_and_may_be_endless():
    sampler = Asked(DATA)
    scramble()
    before = states()
    items = drawn(sampler, seed=3)
    first = list(islice(items, 40))
    assert 40 < sampler.asked <= 40 + 17
    assert same(before, states())
    scramble()
    assert list(islice(drawn(sampler, seed=3), 40)) == first
    assert list(islice(drawn(sampler, seed=4), 40)) != first


@pytest.mark.parametrize("n", [0, 1, 15, 16, 17, 32, 33])
def test_it_has_been_run_to_its_end_before_its_last_is_given(n):
    ended = []

    def items():
        yield from range(n)
        ended.append(n)

    given = [(item, bool(ended)) for item in drawn(items(), seed=0)]
    assert [item for item, _ in given] == list(range(n))
    assert all(over for item, over in given if item == n - 1)
    assert not any(over for item, over in given if item < n - 17)
    assert ended == [n]


@pytest.mark.parametrize("make", [Sizes, lambda: [[1, 2], [3], [4, 5]]])
def test_batches_of_the_users_are_skipped_by_the_sizes_drawn(make):
    loader = DataLoader(Augmented(40), batch_sampler=make())
    whole, _ = draw(loader)
    done = 0
    for skipped, batch in enumerate(whole):
        assert draw(loader, samples=done) == (whole[skipped:], skipped)
        done += len(batch)


def test_batches_that_end_elsewhere_are_refused():
    loader = DataLoader(DATA, batch_sampler=[[1, 2], [3, 4]])
    with pytest.raises(ResumeError, match="after 3 samples of the pass, and list gives 4 in 2 batches: it does not draw as"):
        draw(loader, samples=3)
    with pytest.raises(ResumeError, match="saved after 5 samples of the pass, and list gives 4 in 2 batches"):
        draw(loader, samples=5)


def test_the_users_sampler_is_told_the_pass():
    sampler = WithEpoch()
    draw(DataLoader(DATA, batch_sampler=sampler), number=7)
    assert sampler.epoch == 7
    below = DistributedSampler(DATA, num_replicas=2, rank=0)
    draw(DataLoader(DATA, batch_sampler=Wrapped(below, 2, drop_last=False)), number=7)
    assert below.epoch == 7


def test_the_length_is_what_the_order_depends_on():
    assert Indices(DataLoader(DATA, sampler=SAMPLERS["longer"]())).length == 25
    assert Indices(DataLoader(DATA, sampler=SAMPLERS["subset"](), batch_size=2)).length == 5
    assert Indices(DataLoader(DATA, batch_sampler=Sizes())).length == 10
    keys = type("Keys", (), {"__getitem__": lambda self, key: key})()
    assert Indices(DataLoader(keys, sampler=["a", "b"])).length == 0


def test_where_a_loader_takes_its_indices_from():
    loader = DataLoader(DATA, batch_size=2)
    assert sampler_of(loader) is loader.batch_sampler
    loader = DataLoader(DATA, batch_size=None)
    assert sampler_of(loader) is loader.sampler
