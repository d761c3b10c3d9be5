from types import SimpleNamespace

import pytest
import torch
from torch.utils.data import DataLoader, random_split

from framework.data.ordered import ordered
from framework.distributed.group import joined
from framework.errors import RankError
from framework.module.ranks.data import refuse_other_data, shares_of
from tests.distributed.ranks import on_ranks


def test_one_process_has_no_shares_and_a_rank_those_of_its_place():
    assert shares_of(None) is None
    shares = shares_of(SimpleNamespace(rank=1, world_size=4), whole=True)
    assert (shares.rank, shares.world_size, shares.whole) == (1, 4, True)


def compare(rank, samples, batch):
    return compared(DataLoader(range(samples[rank]), batch_size=batch[rank]))


def compared(loader):
    with joined(torch.device("cpu")) as group:
        train = ordered(loader, 0, shares=shares_of(group))
        try:
            refuse_other_data(group, train, {"val": [torch.ones(2)] * 3})
        except RankError as error:
            return str(error)
    return None


@pytest.mark.parametrize(
    ("samples", "batch", "told"),
    [
        ([10, 10], [2, 2], None),
        ([1000, 900], [2, 2], "train_data differs between the ranks: rank 1 has 900 samples, rank 0 has 1000. Give"),
        ([8, 8], [2, 4], "train_data differs between the ranks: rank 1 has"),
    ],
)
def test_data_that_differ_are_refused_by_all(samples, batch, told):
    for came in on_ranks(2, compare, samples, batch):
        assert came is None if told is None else came.startswith(told)


def split(rank, seeds):
    return compared(DataLoader(random_split(range(10), [6, 4], torch.Generator().manual_seed(seeds[rank]))[0], batch_size=2))


def test_a_split_that_each_rank_has_drawn_otherwise_is_refused_by_all():
    assert on_ranks(2, split, [0, 0]) == [None, None]
    told = "train_data differs between the ranks: rank 1 has a Subset whose indices have the hash "
    for came in on_ranks(2, split, [0, 1]):
        assert came.startswith(told)
        assert "What is drawn, as by random_split, is drawn from a seed: call seed_all(0) before." in came
