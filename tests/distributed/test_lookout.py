import multiprocessing
import os
import select
import signal
import sys
import threading
from contextlib import ExitStack
from datetime import timedelta

import pytest
import torch
import torch.distributed as dist
from ranks import run_ranks

from framework import RankError
from framework.distributed import exchange as exchange_file, heartbeat as heartbeat_file, lookout as lookout_file
from framework.distributed.failure import PeerFailed
from framework.distributed.group import joined
from framework.distributed.heartbeat import Heartbeat
from framework.distributed.lookout import Lookout
from framework.module.stopping.signals import StopSignals

CPU = torch.device("cpu")
FORK = multiprocessing.get_context("fork")
GONE = "{} ended without a word: killed, out of memory, or its machine gone? The other ranks end too.\n"
PATIENCE_S = 60


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """What counts in seconds counts less here; the forked ranks inherit it."""
    for name, seconds in {"_LOOK_S": 0.05, "_GRACE_S": 0.5, "_STUCK_S": 0.7, "_WAITED_S": 0.5, "_ANSWER_S": 1.0}.items():
        monkeypatch.setattr(lookout_file, name, seconds)
    monkeypatch.setattr(exchange_file, "_LOOK", timedelta(seconds=0.1))


def reduce(group):
    dist.all_reduce(torch.ones(3))


def exchange(group):
    group.barrier("the end of epoch 1")


def shown(ended):
    """Returns for each rank its exit code and the last line of what it wrote."""
    return [(each.code, each.stderr.rstrip("\n").rpartition("\n")[2]) for each in ended]


@pytest.mark.parametrize(
    ("wait", "fails", "agent"), [(reduce, 0, True), (exchange, 1, True), (exchange, 0, False), (reduce, 1, False)]
)
def test_the_error_of_one_rank_is_shown_by_it_alone_and_ends_all(wait, fails, agent):
    def runs(rank):
        with joined(CPU) as group:
            if rank == fails:
                raise ValueError(f"sample {rank} is bad")
            wait(group)

    ended = run_ranks(3, runs, agent=agent)
    assert shown(ended) == [(1, f"ValueError: sample {fails} is bad" if rank == fails else "") for rank in range(3)]
    assert "During handling" not in ended[fails].stderr
    assert "PeerFailed" in ended[2].error


def test_a_rank_that_is_heard_of_no_more_is_told_of_once_and_ends_all(monkeypatch):
    monkeypatch.setattr(heartbeat_file, "SILENT_S", 0.4)

    def runs(rank):
        if rank == 2:
            Lookout._answer, Heartbeat.beat = reach_only, lambda self: False
        with joined(CPU) as group:
            reduce(group) if rank else exchange(group)

    ended = run_ranks(3, runs)
    assert [each.code for each in ended] == [1, 1, 1]
    told = "".join(each.stderr for each in ended)
    assert told == "Rank 2 has not been heard of for 0.4 s: is the machine gone, or the network? The other ranks end too.\n"


def reach_only(lookout, answered):
    lookout._reached += 1
    return answered


@pytest.mark.parametrize(("wait", "other"), [(reduce, exchange), (exchange, reduce)])
def test_a_rank_that_cannot_reach_the_store_says_so_and_ends(wait, other):
    def runs(rank):
        if rank == 1:
            heartbeat_file.SILENT_S, Lookout._watch = 0.4, lambda self: None
        with joined(CPU) as group:
            (wait if rank else other)(group)

    ended = run_ranks(2, runs)
    assert ended[1].code == 1
    assert ended[1].stderr == "Rank 1 cannot reach the store of the run for 0.4 s: is the network gone? It ends.\n"


def test_the_same_error_on_all_ranks_is_shown_once():
    def runs(rank):
        with joined(CPU):
            raise ValueError("the same mistake\n" + "x" * rank)

    ended = run_ranks(3, runs)
    assert [each.code for each in ended] == [1, 1, 1]
    assert sorted("ValueError: the same mistake" in each.stderr for each in ended) == [False, False, True]
    assert sorted(each.stderr == "" for each in ended) == [False, True, True]


def test_errors_that_differ_are_all_shown():
    def runs(rank):
        with joined(CPU):
            raise ValueError(f"mistake {rank}")

    assert shown(run_ranks(2, runs)) == [(1, "ValueError: mistake 0"), (1, "ValueError: mistake 1")]


@pytest.mark.parametrize(("wait", "dies"), [(exchange, (0,)), (reduce, (1,)), (reduce, (1, 2))])
def test_a_rank_that_is_killed_is_named_by_one_of_the_others(wait, dies):
    def runs(rank):
        with joined(CPU) as group:
            exchange(group)
            if rank in dies:
                os.kill(os.getpid(), signal.SIGKILL)
            wait(group)

    ended = run_ranks(4, runs)
    assert [each.code for each in ended] == [-9 if rank in dies else 1 for rank in range(4)]
    told = GONE.format(f"Rank {dies[0]} has" if len(dies) == 1 else "Ranks 1 and 2 have")
    assert sorted(each.stderr for each in ended) == ["", "", "", told]


def test_the_death_of_the_process_that_keeps_the_store_is_told_once():
    def runs(rank):
        with joined(CPU) as group:
            exchange(group)
            if rank == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            reduce(group)

    ended = run_ranks(3, runs, agent=False)
    assert [each.code for each in ended] == [-9, 1, 1]
    told = "The process that keeps the store of the run, torchrun or rank 0, has ended without a word. The ranks end too.\n"
    assert [each.stderr.count(told) for each in ended] == [0, 1, 0], ended  # beside warnings of torch's store


def test_a_ranks_own_error_is_shown_where_the_store_is_gone(monkeypatch):
    monkeypatch.setattr(lookout_file, "_STUCK_S", PATIENCE_S)

    def runs(rank):
        with joined(CPU) as group:
            group.barrier("all are inside")
            if rank == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            try:
                reduce(group)
            except RuntimeError:
                raise ValueError("its own") from None

    ended = run_ranks(2, runs, agent=False)[1]
    assert ended.code == 1
    assert ended.stderr.count("\nValueError: its own\n") == 1  # torch's own library may warn of the store after it


def test_a_broken_connection_between_living_ranks_is_shown_as_it_is():
    def runs(rank):
        with joined(CPU) as group:
            if rank == 1:
                raise RuntimeError("[gloo/transport/tcp/pair.cc] Connection closed by peer: the cable")
            exchange(group)

    ended = run_ranks(3, runs)
    assert shown(ended) == [
        (1, ""),
        (1, "RuntimeError: [gloo/transport/tcp/pair.cc] Connection closed by peer: the cable"),
        (1, ""),
    ]


def until_gone(pid):
    select.select([os.pidfd_open(pid)], [], [], PATIENCE_S)


@pytest.mark.parametrize("stuck", [True, False])
def test_a_rank_that_does_not_end_by_itself_is_ended_and_its_output_is_not_lost(tmp_path, monkeypatch, stuck):
    monkeypatch.setattr(lookout_file, "_UNWINDING_S", 2.0 * PATIENCE_S if stuck else 0.9)

    ended = run_ranks(2, waits_for_a_rank_that_stays, tmp_path / "stdout", stuck)
    assert shown(ended) == [(1, ""), (0, "")]
    assert (tmp_path / "stdout").read_text() == "so far\n"


def waits_for_a_rank_that_stays(rank, stdout, stuck):
    with ExitStack() as stack:
        if rank == 1:
            stack.enter_context(pytest.raises(ValueError, match="no"))
        group = stack.enter_context(joined(CPU))
        pid, _ = group.exchange("pid", os.getpid())
        if rank == 1:
            raise ValueError("no")
        sys.stdout = stdout.open("w")
        sys.stdout.write("so far\n")
        if stuck:
            reduce(group)
        threading.Event().wait()
    until_gone(pid)  # so that no connection breaks before


def test_another_rank_leaves_by_itself_and_what_goes_on_is_not_ended(monkeypatch):
    monkeypatch.setattr(lookout_file, "_UNWINDING_S", 0.5)
    seen = FORK.Event()

    def runs(rank):
        if rank == 0:
            monkeypatch.setattr(Lookout, "_must_end", lambda *args: must_end(*args, seen=seen))
        with joined(CPU):
            if rank == 0:
                assert seen.wait(PATIENCE_S)  # such as a save that takes long
            sys.exit(7)

    ended = run_ranks(2, runs)
    assert shown(ended) == [(7, ""), (7, "")]


_MUST_END = Lookout._must_end


def must_end(lookout, failure, seen):
    """As ever, and notes when the time of a rank that does something else would be over."""
    answer = _MUST_END(lookout, failure)
    if lookout_file.monotonic() - lookout._seen_at > lookout_file._UNWINDING_S:
        seen.set()
    return answer


def test_ctrl_c_in_one_rank_ends_all():
    def runs(rank):
        with joined(CPU) as group:
            if rank == 1:
                raise KeyboardInterrupt
            exchange(group)

    assert [each.code for each in run_ranks(2, runs)] == [1, 1]


def test_sigterm_while_others_are_waited_for_is_no_second_report():
    handled = FORK.Event()

    def runs(rank):
        signals = StopSignals(lambda frame: handled.set())
        signals.told = False
        with signals, joined(CPU) as group:
            pid, _ = group.exchange("pid", os.getpid())
            if rank == 1:
                os.kill(pid, signal.SIGTERM)
                assert handled.wait(PATIENCE_S)  # in the middle of the exchange
                raise ValueError("no")
            exchange(group)

    assert shown(run_ranks(2, runs)) == [(1, ""), (1, "ValueError: no")]


def test_ranks_that_can_never_meet_are_told_where_each_is():
    def runs(rank):
        with joined(CPU) as group:
            group.iteration = 10
            if rank == 1:
                group.iteration = 11
                reduce(group)
            exchange(group)

    ended = run_ranks(3, runs)
    told = [each.stderr.rstrip("\n").rpartition("\n")[2] for each in ended]
    assert [each.code for each in ended] == [1, 1, 1]
    assert sorted(bool(each) for each in told) == [False, False, True]
    first = 0 if told[0] else 2
    assert told[first] == (
        f'framework.errors.RankError: Rank {first} waits at "the end of epoch 1" after iteration 10; rank 1 is in iteration 11 and '
        "never comes there: its data has more batches, or a hook or handler exchanges values on some ranks only. Give all ranks "
        "the same number of batches, and exchange on all of them, in the same order."
    )


def test_a_long_hook_and_a_slower_rank_are_no_reason_to_end():
    asked = FORK.Semaphore(0)
    ask = Lookout.ask

    def noting(lookout):
        there = ask(lookout)
        asked.release()
        return there

    def runs(rank):
        Lookout.ask = noting
        with joined(CPU) as group:
            for iteration in (1, 2):
                group.iteration = iteration
                if rank == 1:
                    for _ in range(3):
                        assert asked.acquire(timeout=PATIENCE_S)
                exchange(group)
        return "well"

    assert [each.returned for each in run_ranks(2, runs)] == ["well"] * 2


def test_what_another_has_failed_of_is_known_to_a_rank_that_has_not_waited_yet():
    def runs(rank):
        with joined(CPU) as group:
            pid = group.exchange("pid", os.getpid())[1]
            if rank == 1:
                raise ValueError("no")
            until_gone(pid)
            with pytest.raises((PeerFailed, RuntimeError)):
                exchange(group)
            raise RankError("from the ruins")

    assert shown(run_ranks(2, runs)) == [(1, "framework.errors.RankError: from the ruins"), (1, "ValueError: no")]
