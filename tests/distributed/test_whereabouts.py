import threading

import pytest
import torch
from torch.autograd import graph

from framework.distributed.whereabouts import Whereabouts, never_meet, wait_for_others


@pytest.mark.parametrize(
    ("other", "never"),
    [
        (Whereabouts(11, 4), True),
        (Whereabouts(12, 0), True),
        (Whereabouts(10, 4), False),  # a long hook
        (Whereabouts(9, 4), False),  # slower
        (Whereabouts(11, 5), False),  # it has been there
        (Whereabouts(11, 5, "another tag"), False),  # they have met, and both raise
    ],
)
def test_only_a_rank_that_is_past_an_exchange_never_comes(other, never):
    assert never_meet(Whereabouts(10, 5, "the end of epoch 1"), other) is never


def test_a_thread_in_its_own_code_waits_for_no_other_rank():
    assert wait_for_others(threading.get_ident()) is None
    assert wait_for_others(None) is None


def test_a_thread_in_the_backward_pass_may_wait_for_others():
    seen = []

    class Asks(torch.autograd.Function):
        @staticmethod
        def forward(ctx, value):
            return value.clone()

        @staticmethod
        def backward(ctx, gradient):
            seen.append(wait_for_others(threading.get_ident()))  # its own code again
            return gradient

    value = torch.ones(1, requires_grad=True)
    Asks.apply(value).sum().backward()
    assert seen == [None]


def test_a_thread_inside_torchs_backward_is_placed_at_the_line_that_called_it():
    inside, go_on = threading.Lock(), threading.Lock()  # which wait in C, as the backward pass does
    inside.acquire()
    go_on.acquire()
    names = {"inside": inside, "go_on": go_on}
    text = "def _engine_run_backward():\n    inside.release()\n    go_on.acquire()\n"  # as the one that waits for DDP's buckets
    exec(compile(text, graph.__file__, "exec"), names)

    def trains():
        names["_engine_run_backward"]()

    thread = threading.Thread(target=trains)
    thread.start()
    inside.acquire()
    waits = wait_for_others(thread.ident)
    go_on.release()
    thread.join()
    assert waits == f"engine_run_backward (test_whereabouts.py:{trains.__code__.co_firstlineno + 1})"
