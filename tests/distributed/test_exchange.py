import multiprocessing
import threading
from math import inf, nan

import pytest
import torch
from ranks import on_ranks

from framework import RankError
from framework.distributed.exchange import name_ranks
from framework.distributed.group import joined

CPU = torch.device("cpu")


def told(exchange, *args):
    with pytest.raises(RankError) as caught:
        exchange(*args)
    return str(caught.value)


def exchanged(rank):
    with joined(CPU) as group:
        large = "ä" * 1000
        yield "values", group.exchange("value", {"rank": rank})
        yield "large values", [len(each) for each in group.exchange("large", large * rank)]
        yield "of rank 0", group.from_main("main", "rank 0" if rank == 0 else object)
        yield "large of rank 0", group.from_main("main", large if rank == 0 else None) == large
        yield "nothing", [group.exchange("nothing"), group.from_main("nothing"), group.barrier("nothing")]
        yield "sums", group.sums("few", [rank, 0.1, -rank])
        yield "no sums", group.sums("none", [])
        yield "many sums", group.sums("many", [float(rank)] * 500) == [3.0] * 500
        yield "odd sums", str(group.sums("odd", [inf, nan, 1e308 if rank else 0.0]))
        yield "in the order of ranks", group.sums("order", [(1.0, 1e100, -1e100)[rank]]) == [(1.0 + 1e100) - 1e100]


def test_every_rank_gets_the_same():
    answers = on_ranks(3, lambda rank: dict(exchanged(rank)))
    assert answers[0] == answers[1] == answers[2]
    assert answers[0] == {
        "values": [{"rank": 0}, {"rank": 1}, {"rank": 2}],
        "large values": [0, 1000, 2000],
        "of rank 0": "rank 0",
        "large of rank 0": True,
        "nothing": [[None] * 3, None, None],
        "sums": [3.0, 0.1 + 0.1 + 0.1, -3.0],
        "no sums": [],
        "many sums": True,
        "odd sums": "[inf, nan, inf]",
        "in the order of ranks": True,
    }


def disagreeing(rank):
    with joined(CPU) as group:
        yield told(group.exchange, "checkpoint 40" if rank == 1 else "train metrics of epoch 2", rank)
        yield told(group.barrier, f"rank {rank}")
        yield told(*((group.sums, "x", [1.0]) if rank == 2 else (group.exchange, "x")))
        yield told(group.barrier, ("long " * 500) + str(rank))[:64]
        yield told(group.sums, "losses", [1.0] * (rank % 2))
        yield told(*((group.from_main, "x") if rank == 0 else (group.exchange, "x", "y" * 5000)))
        yield group.exchange("after all that", rank)


def test_ranks_at_different_points_are_told_so_on_all_of_them_and_may_go_on():
    answers = on_ranks(3, lambda rank: [*disagreeing(rank)])
    assert answers[0] == answers[1] == answers[2]
    points, each, kinds, long, amounts, main, after = answers[0]
    assert points == (
        'The ranks are at different points: rank 1 is at "checkpoint 40", ranks 0 and 2 are at "train metrics of epoch 2". A hook '
        "or handler that exchanges values must run on all ranks, in the same order."
    )
    assert 'rank 2 is at "rank 2", rank 1 is at "rank 1", rank 0 is at "rank 0".' in each
    assert 'rank 2 is at "x (sums)", ranks 0 and 1 are at "x".' in kinds
    assert long.startswith('The ranks are at different points: ranks 0, 1 and 2 are at "long')
    assert amounts.startswith(
        'The ranks give different amounts of numbers for the sums of "losses": rank 1 gives 1, ranks 0 and 2 give 0. '
    )
    assert 'rank 0 is at "x (of rank 0)", ranks 1 and 2 are at "x".' in main
    assert after == [0, 1, 2]


def waiting(rank, others):
    looks = []
    with joined(CPU) as group:
        group._exchange._look = lambda waited_s: (looks.append(waited_s), others.set())
        if rank == 0:
            others.wait(60)  # until rank 1 has looked up from its wait
        group.barrier("x")
    return looks


def test_a_rank_that_waits_looks_up_once_a_second():
    never, looks = on_ranks(2, waiting, multiprocessing.get_context("fork").Event())
    assert never == []
    assert looks[0] >= 1


def test_ranks_are_named():
    assert [name_ranks(ranks) for ranks in ([2], [0, 1], [0, 2, 3])] == ["rank 2", "ranks 0 and 1", "ranks 0, 2 and 3"]


def test_threads_are_gone_afterwards():
    def counted(rank):
        before = threading.active_count()
        with joined(CPU):
            inside = threading.active_count()
        return inside - before, threading.active_count() - before

    assert on_ranks(2, counted) == [(2, 0)] * 2
