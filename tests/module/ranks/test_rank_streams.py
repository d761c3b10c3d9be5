from types import SimpleNamespace

import pytest
import torch

from framework import Recorder, ResumeError, seed_all
from framework.distributed.group import joined
from framework.module.ranks.streams import gather_own, give_back, position_of_rank, seed_apart, seed_of_rank
from framework.seeding import derive_seed
from tests.distributed.ranks import on_ranks


def draw(rank):
    seed_all(5)
    recorder = Recorder("train")
    recorder.log("loss", float(rank), n=2)
    with joined(torch.device("cpu")) as group:
        seed_apart(5, group)
        saved = gather_own(group, recorder)
        first = torch.rand(2)
        recorder.log("loss", 9.0, n=1)
        give_back(saved, group, recorder, 5, iteration=3)
        again = torch.rand(2)
        pending = recorder.pending()
        give_back(saved[:1] * 3, group, recorder, 5, iteration=3)  # as of three ranks
        return first, again, pending, recorder.pending(), torch.rand(1), seed_of_rank(5, group), saved


def test_each_rank_has_streams_and_values_of_its_own():
    first, second = on_ranks(2, draw)
    seed_all(5)
    assert torch.equal(first[0], torch.rand(2))  # rank 0 draws what one process would
    for rank, (drawn, again, pending, *_) in enumerate((first, second)):
        assert torch.equal(drawn, again)
        assert pending == {"loss": {"values": [float(rank)], "weights": [2]}}
    assert not torch.equal(first[0], second[0])
    assert first[5] == 5 == seed_of_rank(5, None)
    assert second[5] == derive_seed(5, 1)


def test_another_number_of_ranks_takes_all_values_once():
    first, second = on_ranks(2, draw)
    assert first[3] == {"loss": {"values": [0.0] * 3, "weights": [2] * 3}}
    assert second[3] == {"loss": {"values": [0.0] * 3, "weights": [0.0] * 3}}
    assert not torch.equal(first[4], second[4])
    recorder = Recorder("train")
    give_back(first[6], None, recorder, 5, iteration=3)  # one process goes on
    assert recorder.pending() == {"loss": {"values": [0.0, 1.0], "weights": [2, 2]}}


def test_data_of_each_rank_go_on_with_as_many_ranks_alone():
    run = {"data": {"epoch": 1}, "ranks": [{"data": None}, {"data": None}]}
    assert position_of_rank(run, None) == position_of_rank({"data": {"epoch": 1}}, None) == {"epoch": 1}
    run["ranks"] = [{"data": {"epoch": 2}}, {"data": {"epoch": 3}}]
    assert position_of_rank(run, SimpleNamespace(world_size=2, rank=1)) == {"epoch": 3}
    with pytest.raises(ResumeError, match="Each of 2 ranks has brought data of its own to the run, and now there is 1: nobody"):
        position_of_rank(run, None)
    with pytest.raises(ResumeError, match="and now there are 4: nobody"):
        position_of_rank(run, SimpleNamespace(world_size=4, rank=1))
