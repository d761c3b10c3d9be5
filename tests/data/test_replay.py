"""Passes over data that can be made again from any batch on."""

import random

import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    WeightedRandomSampler,
)

from framework.data.replay import ReproducibleBatchSampler, replayable_pass, update_dataloader


class Augmented(Dataset):
    """Samples with random numbers of all three libraries in them."""

    def __len__(self):
        return 23

    def __getitem__(self, index):
        numpy = pytest.importorskip("numpy")
        return torch.tensor([float(index)]) + torch.rand(1) + random.random() + float(numpy.random.rand())


class Stream(IterableDataset):
    def __iter__(self):
        return (torch.rand(2) for _ in range(9))


def random_batches():
    while True:
        yield torch.rand(2)


def equal(one, other):
    return len(one) == len(other) and all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


LOADERS = {
    "shuffled": lambda workers: DataLoader(Augmented(), batch_size=4, shuffle=True, num_workers=workers),
    "drop_last": lambda workers: DataLoader(Augmented(), batch_size=4, shuffle=True, drop_last=True, num_workers=workers),
    "weighted": lambda workers: DataLoader(
        Augmented(), batch_size=4, sampler=WeightedRandomSampler(torch.arange(23.0), 23), num_workers=workers
    ),
    "persistent": lambda workers: DataLoader(
        Augmented(), batch_size=4, shuffle=True, num_workers=workers, persistent_workers=workers > 0
    ),
}


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize("workers", [0, 2])
def test_the_rest_of_a_pass_is_the_same_with_any_number_of_workers(loader, workers):
    whole = list(replayable_pass(LOADERS[loader](0), seed=3, skip=0))
    rest = list(replayable_pass(LOADERS[loader](workers), seed=3, skip=2))
    assert equal(whole[2:], rest)


def test_another_seed_gives_other_batches():
    one, other = (list(replayable_pass(LOADERS["shuffled"](0), seed, skip=0)) for seed in (1, 2))
    assert not any(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("workers", [0, 1])
def test_an_iterable_dataset_is_read_forward(workers):
    whole = list(replayable_pass(DataLoader(Stream(), batch_size=3, num_workers=workers), seed=3, skip=0))
    assert equal(whole[1:], list(replayable_pass(DataLoader(Stream(), batch_size=3, num_workers=workers), seed=3, skip=1)))


def test_a_list_is_not_copied_and_an_endless_generator_is_replayed():
    batches = [object(), object(), object()]
    assert list(replayable_pass(batches, seed=0, skip=1)) == batches[1:]
    one, other = replayable_pass(random_batches(), seed=5, skip=0), replayable_pass(random_batches(), seed=5, skip=3)
    assert equal([next(one) for _ in range(6)][3:], [next(other) for _ in range(3)])


@pytest.mark.parametrize("make", [LOADERS["shuffled"], lambda workers: random_batches()])
def test_the_global_random_streams_stay_as_they_are(make):
    before = torch.get_rng_state(), random.getstate()
    batches = replayable_pass(make(0), seed=1, skip=1)
    for _ in range(3):
        next(batches)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == random.getstate()


def test_a_loader_without_batches_of_its_own_is_read_forward():
    loader = DataLoader(range(6), batch_size=None)
    assert list(replayable_pass(loader, seed=0, skip=4)) == [4, 5]


def test_the_users_loader_is_left_alone():
    loader = LOADERS["shuffled"](0)
    sampler = loader.batch_sampler
    list(replayable_pass(loader, seed=1, skip=0))
    assert loader.batch_sampler is sampler
    assert isinstance(loader.dataset, Augmented)


@pytest.mark.contract(89)
def test_an_updated_loader_keeps_type_and_settings():
    class Special(DataLoader):
        pass

    loader = Special(list(range(10)), batch_size=2, collate_fn=sum, timeout=0, drop_last=True)
    sampler = BatchSampler(SequentialSampler(range(10)), 5, drop_last=False)
    updated = update_dataloader(loader, sampler)
    assert type(updated) is Special
    assert updated.batch_sampler is sampler
    assert updated.collate_fn is sum
    assert list(updated) == [10, 35]
    assert len(list(loader)) == 5


@pytest.mark.contract(89)
def test_reproducible_batches_are_the_originals_under_the_same_seed_and_can_start_later():
    original = BatchSampler(RandomSampler(range(10)), 3, drop_last=False)
    torch.manual_seed(12)
    expected = list(original)
    reproducible = ReproducibleBatchSampler(original, start_iteration=2)
    torch.manual_seed(12)
    assert list(reproducible) == expected[2:]
    assert len(list(reproducible)) == len(reproducible) == 4  # the skip is for one pass only


@pytest.mark.contract(89)
def test_reproducible_batches_need_a_batch_sampler():
    with pytest.raises(
        TypeError, match=r"Argument batch_sampler should be torch\.utils\.data\.sampler\.BatchSampler, got <class 'str'>"
    ):
        ReproducibleBatchSampler("not a sampler")
