import pickle

import pytest
from torch.distributed import DistBackendError

from framework.distributed.failure import Failure, PeerFailed, is_broken_connection


@pytest.mark.parametrize(
    ("error", "what", "leaves"),
    [
        (ValueError("no\nsecond line"), "ValueError: no", False),
        (KeyboardInterrupt(), "KeyboardInterrupt", False),
        (SystemExit(3), "SystemExit: 3", True),
    ],
)
def test_a_failure_is_one_line_that_goes_through_a_store(error, what, leaves):
    failure = Failure.of(2, error)
    assert failure == Failure(2, what, 1, leaves)
    assert Failure.read(failure.text().encode()) == failure


def test_it_ends_a_process_with_its_code_and_survives_a_copy():
    end = pickle.loads(pickle.dumps(PeerFailed(Failure(1, "hangs", 124))))
    assert isinstance(end, SystemExit)
    assert (end.code, str(end)) == (124, "rank 1 has failed: hangs")


@pytest.mark.parametrize(
    ("error", "broken"),
    [
        (RuntimeError("[/x/gloo/transport/tcp/pair.cc:537] Read error [::1]:8094: Connection reset by peer"), True),
        (DistBackendError("NCCL error: remote process exited"), True),
        (RuntimeError("[/x/gloo/transport/tcp/unbound_buffer.cc:81] Timed out waiting 1ms for recv operation"), False),
        (ConnectionError("Connection closed by peer, of the user's data base"), False),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
    ],
)
def test_a_connection_that_broke_is_told_from_a_ranks_own_errors(error, broken):
    assert is_broken_connection(error) is broken
