"""What several processes do together: all hear how it went everywhere before one of them goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from framework.errors import CheckpointError

T = TypeVar("T")


class Peers(Protocol):
    """The processes of a run, as seen by one of them."""

    @property
    def rank(self) -> int:
        """The number of this one."""

    @property
    def is_main(self) -> bool:
        """Whether this is the one that does what is done once: rank 0."""

    def exchange(self, tag: str, value: Any = None) -> list[Any]:
        """Returns what each process came with, in the order of ranks."""


def together(group: Peers | None, tag: str, action: Callable[[], T]) -> list[T]:
    """Does something in every process and returns what each of them got, in the order of ranks.

    Args:
        group: of the processes; None where there is one.
        tag: names what is done, the same everywhere.
        action: of this process.

    Raises:
        OSError, CheckpointError: it failed here.
        CheckpointError: it failed in another process; its rank is named.
    """
    if group is None:
        return [action()]
    failed: OSError | CheckpointError | None = None
    result: Any = None
    try:
        result = action()
    except (OSError, CheckpointError) as error:
        failed = error
    outcomes = group.exchange(tag, (result, None if failed is None else f"{type(failed).__name__}: {failed}"))
    if failed is not None:
        raise failed
    wrong = {rank: text for rank, (_, text) in enumerate(outcomes) if text is not None}
    if wrong:
        rank, text = next(iter(wrong.items()))
        raise CheckpointError(f"Rank {rank} could not do its part of {tag}, so nothing came of it: {text}")
    return [value for value, _ in outcomes]
