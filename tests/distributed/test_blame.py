import re
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from ranks import run_ranks
from torch.distributed import HashStore

from framework.distributed import blame as blame_file
from framework.distributed.blame import Blame
from framework.distributed.failure import Failure
from framework.distributed.group import joined
from framework.module.stopping.watchdog import Watchdog


@pytest.fixture
def asked(monkeypatch):
    """Asks all ranks at once, each waiting where it is said to, and returns their answers and what the others see of it."""

    def ask(*waits, silent=0):
        store, places = HashStore(), threading.local()
        monkeypatch.setattr(blame_file, "wait_for_others", lambda thread: places.waits)

        def one(rank):
            places.waits = waits[rank]
            return Blame(store, rank, len(waits) + silent)(f"epoch 1, iteration {rank}")

        with ThreadPoolExecutor(len(waits)) as pool:
            answers = [*pool.map(one, range(len(waits)))]
        return answers, Failure.read(store.get("failed"))

    return ask


@pytest.mark.fault(25)
def test_the_rank_that_waits_for_no_other_reports_and_the_others_say_one_line(asked):
    answers, failure = asked("barrier (train.py:3)", None, "backward (train.py:7)")
    assert answers == [
        "Rank 0 waits for others in barrier (train.py:3): epoch 1, iteration 0",
        None,
        "Rank 2 waits for others in backward (train.py:7): epoch 1, iteration 2",
    ]
    assert failure.code == 124
    assert failure.what == f"hangs: epoch 1, iteration {failure.rank}"


def test_where_all_wait_for_each_other_the_first_reports(asked):
    answers, _ = asked("a", "b")
    assert answers == [None, "Rank 1 waits for others in b: epoch 1, iteration 1"]


def test_a_rank_that_says_nothing_is_not_waited_for_for_ever(asked, monkeypatch):
    monkeypatch.setattr(blame_file, "_OTHERS_S", 0.2)
    answers, _ = asked("a", "b", silent=1)
    assert answers == [None, "Rank 1 waits for others in b: epoch 1, iteration 1"]


def test_where_none_waits_all_report(asked):
    assert asked(None, None)[0] == [None, None]


@pytest.mark.fault(25)
def test_a_run_in_which_one_rank_hangs_ends_with_one_report():
    def runs(rank):
        with joined(torch.device("cpu")) as group, Watchdog(1, lambda: "epoch 1, iteration 7, in the step", blame=group.blame):
            if rank == 1:
                threading.Event().wait()
            group.barrier("the end of epoch 1")

    ended = run_ranks(3, runs)
    assert [each.code for each in ended] == [124] * 3
    for rank in (0, 2):
        line = rf"Rank {rank} waits for others in .*: epoch 1, iteration 7, in the step\n"
        assert re.fullmatch(f"({line})?", ended[rank].stderr)  # nothing where rank 1 was gone before
    assert "It hangs here: epoch 1, iteration 7, in the step\n" in ended[1].stderr
    assert "in runs\n" in ended[1].stderr
