"""The indices of one process's samples."""

import pytest
from augmented import Augmented
from torch.utils.data import BatchSampler, DataLoader, DistributedSampler, RandomSampler, SequentialSampler, SubsetRandomSampler

from framework.data import order
from framework.data.shared_indices import SharedIndices
from framework.data.shares import Shares
from framework.errors import DataError, ResumeError, SettingError
from framework.seeding import derive_seed

DATA = Augmented(22)


class Pairs(BatchSampler):
    """A batch sampler of the user's."""


class Sizes:
    """Batches of several sizes, without a batch_size."""

    def __iter__(self):
        yield from ([1, 2, 3], [4], [5, 6], [7, 8, 9, 10], [11])

    def __len__(self):
        return 5


class OwnDistributed(DistributedSampler):
    pass


def distributed(**options):
    return DistributedSampler(DATA, num_replicas=4, rank=3, **options)


def joined(parts):
    return [index for part in parts for index in part]


def steps_of(loader, world_size=2, samples=0, whole=False):
    """Returns by step the items of all ranks."""
    shared = [SharedIndices(loader, Shares(rank, world_size, whole)) for rank in range(world_size)]
    drawn = [list(each.draw(2, derive_seed(5, 2), samples)[0]) for each in shared]
    steps = list(zip(*drawn, strict=True))
    if samples == 0:
        assert all(len(each) == len(steps) for each in shared)
    return steps


@pytest.mark.parametrize("shuffle", [True, False])
def test_a_distributed_sampler_is_replaced_by_the_split_of_all_samples(shuffle):
    loader = DataLoader(DATA, batch_size=3, sampler=distributed(shuffle=shuffle))
    expected = order(22, seed=5, epoch=2) if shuffle else list(range(22))
    steps = steps_of(loader)
    assert [joined(parts) for parts in steps] == [expected[first : first + 6] for first in range(0, 22, 6)]
    shared = SharedIndices(loader, Shares(0, 2))
    assert shared.steps.length == 22
    asked = "order by seed and pass, " if shuffle else ""
    assert shared.replaced == f"DistributedSampler -> {asked}split over 2 processes"
    assert loader.sampler.num_replicas == 4


@pytest.mark.parametrize(("world_size", "kept"), [(2, 22), (3, 21), (4, 20)])
def test_a_distributed_sampler_that_drops_the_last_drops_what_is_uneven(world_size, kept):
    loader = DataLoader(DATA, batch_size=2, sampler=distributed(drop_last=True))
    steps = steps_of(loader, world_size)
    assert [index for parts in steps for part in parts for index in part] == order(22, seed=5, epoch=2)[:kept]
    assert SharedIndices(loader, Shares(0, world_size)).steps.length == 22  # that of the positions, at any number of processes


def test_a_distributed_sampler_without_batches_is_dealt_one_by_one():
    loader = DataLoader(DATA, batch_size=None, sampler=distributed())
    assert [index for parts in steps_of(loader) for index in parts] == order(22, seed=5, epoch=2)


@pytest.mark.parametrize(
    "options",
    [
        {"sampler": OwnDistributed(DATA, num_replicas=2, rank=0)},
        {"batch_sampler": Pairs(DistributedSampler(DATA, num_replicas=2, rank=0), 2, drop_last=False)},
    ],
)
def test_samples_that_are_a_part_already_are_not_split_again(options):
    message = r"Distributed(Sampler)? gives each process samples of its own \(num_replicas=2\), and they would be split again"
    with pytest.raises(DataError, match=message):
        SharedIndices(DataLoader(DATA, **options), Shares(0, 2))


def test_a_sampler_for_one_process_of_all_is_no_part():
    loader = DataLoader(DATA, sampler=OwnDistributed(DATA, num_replicas=1, rank=0, shuffle=False), batch_size=11)
    assert [joined(parts) for parts in steps_of(loader)] == [list(range(22))]


def test_a_short_step_of_all_is_dropped_or_split():
    kept, dropped = (
        steps_of(DataLoader(DATA, batch_size=4, shuffle=True, drop_last=drop_last), world_size=3) for drop_last in (False, True)
    )
    assert [len(joined(parts)) for parts in kept] == [12, 10]
    assert [len(part) for part in kept[-1]] == [4, 3, 3]
    assert dropped == kept[:1]


@pytest.mark.parametrize(
    "sampler",
    [
        RandomSampler(DATA),
        SubsetRandomSampler(range(20)),
        SequentialSampler(DATA),
        list(range(22)),
        RandomSampler(DATA, num_samples=10),
    ],
)
@pytest.mark.parametrize("drop_last", [True, False])
def test_whole_batches_are_those_of_all(sampler, drop_last):
    loader = DataLoader(DATA, batch_size=4, sampler=sampler, drop_last=drop_last)
    one = [part for (part,) in steps_of(loader, world_size=1)]
    assert [joined(parts) for parts in steps_of(loader, whole=True)] == one
    assert [joined(parts) for parts in steps_of(loader, whole=True, samples=8)] == one[2:]


def test_batches_of_the_users_are_dealt_whole_and_split_where_they_have_a_size():
    loader = DataLoader(DATA, batch_sampler=Pairs(SequentialSampler(range(9)), 2, drop_last=False))
    assert steps_of(loader) == [([0, 1], [2, 3]), ([4, 5], [6, 7]), ([8], [8])]
    assert steps_of(loader, whole=True) == [([0], [1]), ([2], [3]), ([4], [5]), ([6], [7]), ([8], [8])]
    loader = DataLoader(DATA, batch_sampler=Sizes())
    assert steps_of(loader) == [([1, 2, 3], [4]), ([5, 6], [7, 8, 9, 10]), ([11], [11])]
    shares = [list(SharedIndices(loader, Shares(rank, 2)).draw(0, 0, 4)[0]) for rank in (0, 1)]
    assert shares == [[[5, 6], [11]], [[7, 8, 9, 10], [11]]]


def test_batches_as_items_of_a_loader_without_batches_are_split():
    loader = DataLoader(DATA, batch_size=None, sampler=BatchSampler(RandomSampler(DATA), 4, drop_last=True))
    expected = order(22, seed=5, epoch=2)
    assert [joined(parts) for parts in steps_of(loader)] == [expected[:8], expected[8:16]]
    assert [joined(parts) for parts in steps_of(loader, whole=True)] == [expected[first : first + 4] for first in range(0, 20, 4)]


def test_batches_without_a_size_are_not_split():
    with pytest.raises(SettingError, match="the batch sampler Sizes, whose batches have no batch_size, does not have"):
        SharedIndices(DataLoader(DATA, batch_sampler=Sizes()), Shares(0, 2, whole=True))
    with pytest.raises(SettingError, match="which a DataLoader with batch_size=None does not have"):
        SharedIndices(DataLoader(DATA, batch_size=None), Shares(0, 2, whole=True))
    for loader in (DataLoader(DATA, batch_size=4), DataLoader(DATA, batch_sampler=Pairs(range(9), 4, drop_last=False))):
        with pytest.raises(SettingError, match=r"batch_size=4 does not split into 3 parts of one size\. Use batch_size=3 or 6"):
            SharedIndices(loader, Shares(0, 3, whole=True))


def test_whole_batches_go_on_where_a_step_begins():
    loader = DataLoader(DATA, batch_sampler=Sizes())
    with pytest.raises(ResumeError, match="saved after 1 batches of the pass, where no step of 2 processes begins"):
        SharedIndices(loader, Shares(0, 2)).draw(0, 0, 3)
    dealing, skipped = SharedIndices(loader, Shares(0, 2)).draw(0, 0, 11)  # all of them: the last step was a short one
    assert (list(dealing), skipped) == ([], 3)


def test_each_process_has_a_seed_of_its_own_and_the_first_that_of_one_process():
    loader = DataLoader(DATA)
    seeds = [SharedIndices(loader, Shares(rank, 4)).own_seed(5, 2) for rank in range(4)]
    assert seeds[0] == derive_seed(5, 2)
    assert len(set(seeds)) == 4
