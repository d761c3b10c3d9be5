"""That a rank has failed: what the others learn of it, and what ends them."""

from __future__ import annotations

import json
from typing import NamedTuple

from torch.distributed import DistError

EXIT_HUNG = 124
"""The exit code of all ranks of a run that hangs: that of a watchdog."""


class Failure(NamedTuple):
    """The first failure of a run.

    Attributes:
        rank: that has failed.
        what: one line of what it was.
        code: the exit code of the ranks that end because of it.
        leaves: it was no error: the rank leaves by SystemExit, as others may do at the same time.
    """

    rank: int
    what: str
    code: int = 1
    leaves: bool = False

    @classmethod
    def of(cls, rank: int, error: BaseException) -> Failure:
        """Returns the failure that an error is."""
        first = str(error).partition("\n")[0]
        return cls(rank, f"{type(error).__name__}: {first}".removesuffix(": "), leaves=isinstance(error, SystemExit))

    @classmethod
    def read(cls, text: bytes) -> Failure:
        """Returns what `text` writes."""
        return cls(*json.loads(text))

    def text(self) -> str:
        """Returns the failure as it stands in a store."""
        return json.dumps(self)


class PeerFailed(SystemExit):
    """Another rank has failed first; uncaught, it ends this process without a traceback, as that rank shows its own.

    Args:
        failure: of the other.

    Example:
        >>> from framework.distributed.failure import Failure, PeerFailed
        >>> end = PeerFailed(Failure(1, "ValueError: no"))
        >>> end.code, str(end)
        (1, 'rank 1 has failed: ValueError: no')
    """

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.code)
        self.args = (failure,)  # what a copy is made of
        self.failure = failure

    def __str__(self) -> str:
        return f"rank {self.failure.rank} has failed: {self.failure.what}"


def is_broken_connection(error: BaseException) -> bool:
    """Tells whether an error says only that another rank is gone, as gloo, nccl and the store do.

    Example:
        >>> from framework.distributed.failure import is_broken_connection
        >>> is_broken_connection(RuntimeError("[.../gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:56705"))
        True
        >>> is_broken_connection(RuntimeError("[.../gloo/transport/tcp/unbound_buffer.cc:81] Timed out waiting 1800000ms"))
        False
    """
    text = str(error)
    broken = "gloo/transport/" in text and "Timed out" not in text
    return isinstance(error, DistError) or (isinstance(error, RuntimeError) and broken)
