import gc
import os
import signal
import weakref

import torch
from ranks import on_ranks

from framework.distributed.forks import keep_from_collecting
from framework.distributed.group import joined

CPU = torch.device("cpu")


def code_of(fork):
    """Runs a function in a fork and returns its exit code: 0 for True, 1 for False."""
    if (child := os.fork()) == 0:
        signal.alarm(10)
        os._exit(0 if fork() else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_forked_process_does_not_free_what_a_run_has_left():
    def runs(rank):
        gc.disable()
        with joined(CPU) as group:
            group.blame = group  # a cycle, as runs leave them
        left = weakref.ref(group)
        del group
        gc.enable()

        def collect():
            gc.collect()  # would wait for threads that are not here
            return left() is not None

        code = code_of(collect)
        gc.collect()
        return code, left()

    assert on_ranks(2, runs) == [(0, None)] * 2


def test_nothing_is_collected_before_that_and_all_is_as_it_was_afterwards():
    def runs(rank):
        collected = []
        os.register_at_fork(after_in_child=lambda: collected.append(gc.isenabled()))  # before ours
        keep_from_collecting.__wrapped__()  # the process of the tests may have done it
        codes = [code_of(lambda: collected == [False] and gc.isenabled()), gc.isenabled()]
        gc.disable()
        return [*codes, code_of(lambda: collected == [False] and not gc.isenabled()), gc.isenabled()]

    assert on_ranks(1, runs) == [[0, True, 0, False]]
