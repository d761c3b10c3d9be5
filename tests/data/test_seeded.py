"""Batches whose random numbers follow from a seed that travels with their indices."""

import pickle
import random

import pytest
from augmented import AtOnce, Augmented, equal
from torch.utils.data import DataLoader, Subset

from framework.data.loader_copy import with_items
from framework.data.seeded import SeededDataset, SeededItems, seeded
from framework.errors import DataError
from framework.seeding import derive_seed


def test_each_item_has_a_seed_of_its_position():
    assert list(seeded("ab", seed=5, first=3)) == [(derive_seed(5, 3), "a"), (derive_seed(5, 4), "b")]


def test_items_stand_for_a_sampler():
    items = SeededItems(range(7))
    assert len(items) == 7
    assert list(items) == []
    items.begin(iter([(1, [0])]))
    assert list(items) == [(1, [0])]


def test_a_loader_makes_its_batches_of_them():
    items = SeededItems([[0], [1]])
    loader = with_items(DataLoader(Augmented(), batch_size=2), items, SeededDataset(Augmented()))
    items.begin(seeded([[4, 2], [0]], seed=1, first=0))
    one = list(loader)
    items.begin(seeded([[0]], seed=1, first=1))
    assert [batch[:, 0].tolist() for batch in one] == [[4.0, 2.0], [0.0]]
    assert equal(one[1:], list(loader))


@pytest.mark.parametrize("dataset", [Augmented(), AtOnce(), Subset(Augmented(), range(23)), Subset(AtOnce(), range(23))])
def test_one_by_one_or_at_once_gives_the_same(dataset):
    assert equal(SeededDataset(dataset).__getitems__((3, [5, 6])), SeededDataset(Augmented()).__getitems__((3, [5, 6])))


def test_a_seed_a_sample_does_not_depend_on_the_batch():
    dataset = SeededDataset(AtOnce(), each_sample=True)
    assert equal(dataset.__getitems__((3, [5, 6]))[1:], dataset.__getitems__((3, [6, 7]))[:1])
    assert equal([dataset[3, 6]], dataset.__getitems__((3, [6])))


def test_a_seed_a_sample_needs_whole_numbers():
    dataset = SeededDataset({"a": 1}, each_sample=True)
    message = r'integer, got \'a\' \(str\). Use seeding="batch"'
    with pytest.raises(DataError, match=message):
        dataset.__getitems__((3, ["a"]))
    with pytest.raises(DataError, match=message):
        dataset[3, "a"]
    assert SeededDataset({"a": 1})[3, "a"] == 1


def test_an_error_of_a_loader_without_batches_names_the_sample():
    with pytest.raises(IndexError) as info:
        SeededDataset([1])[3, 1]
    assert info.value.__notes__ == ["It was raised in sample 1 of list."]


def test_it_can_be_sent_to_a_process():
    random.seed(1)
    copied = pickle.loads(pickle.dumps(SeededDataset(Augmented())))
    assert equal(copied.__getitems__((3, [5])), SeededDataset(Augmented()).__getitems__((3, [5])))
