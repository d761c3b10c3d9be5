"""What a command says where torchrun has started it in several processes: once."""

from __future__ import annotations

import sys

from framework.distributed.launch import rank


def say(*lines: str, error: bool = False) -> None:
    """Prints lines in the process of rank 0, and in no other.

    Args:
        *lines: without their ends.
        error: to the standard error.

    Example:
        >>> from framework.cli.once import say
        >>> say("written once")
        written once
    """
    if rank() == 0:
        print(*lines, sep="\n", file=sys.stderr if error else sys.stdout, flush=True)
