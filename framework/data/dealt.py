"""The steps of all processes, split or dealt out: what of each is this process's."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain, repeat
from typing import Any

from torch import Tensor

from framework.data.shares import Shares
from framework.errors import ResumeError

Part = tuple[Any, int, float]
"""What is this process's, how many samples the step has on all of them, and what the part counts in the mean over them."""
_END = object()


def split(steps: Iterable[Any], shares: Shares) -> Iterator[Part]:
    """Yields a part of each step; the last sample of the step, which does not count, where there is none for this process.

    Args:
        steps: the indices of all processes' samples.
        shares: says which are ours.
    """
    for step in steps:
        samples = len(step)
        first, own = shares.part(samples)
        indices = step[first : first + own] if own else step[-1:]
        yield list(indices), samples, own * shares.world_size / samples if samples else 1.0


def split_order(order: Tensor | range, size: int, drop_last: bool, shares: Shares) -> Iterator[Part]:
    """Yields what `split` does of the steps of an order, and takes no more time for many processes than for one.

    Args:
        order: the indices that are left of a pass: (samples).
        size: of a step.
        drop_last: without a last one that is shorter.
        shares: says which are ours.
    """
    whole = len(order) - len(order) % size
    first, own = shares.part(size)
    parts: Iterable[list[int]]
    if isinstance(order, Tensor):
        parts = order[:whole].view(-1, size)[:, first : first + own].tolist()
    else:
        parts = (list(order[begin : begin + own]) for begin in range(first, whole, size))
    short = [] if drop_last or whole == len(order) else [list(map(int, order[whole:]))]
    return chain(zip(parts, repeat(size), repeat(own * shares.world_size / size)), split(short, shares))


def dealt(items: Iterator[Any], shares: Shares, size: Callable[[Any], int] | None) -> Iterator[Part]:
    """Yields one of as many items as there are processes; the last one again, which does not count, where there is none for us.

    Args:
        items: whole batches, or the indices of one each. No more than three are held at a time.
        shares: says which are ours.
        size: returns how many samples an item stands for; None: they all count the same.
    """
    return iter(partial(_next_part, items, shares, size), None)


def _next_part(items: Iterator[Any], shares: Shares, size: Callable[[Any], int] | None) -> Part | None:
    own: Any = _END
    samples = counted = 0
    for place in range(shares.world_size):
        if (item := next(items, _END)) is _END:
            break
        count = 1 if size is None else size(item)
        samples += count
        if place <= shares.rank:
            own, counted = item, count if place == shares.rank else 0
    if own is _END:
        return None
    return own, samples, counted * shares.world_size / samples if samples else 1.0


def from_step(items: Iterator[Any], done: int, shares: Shares) -> Iterator[Any]:
    """Returns the items after the first ones, where a step of whole batches begins there.

    Args:
        items: those that are left.
        done: how many batches all processes together have had.
        shares: says how many are taken in a step.

    Raises:
        ResumeError: none does, and the pass is not over.
    """
    if done % shares.world_size and next(items, _END) is not _END:
        raise ResumeError(
            f"The position was saved after {done} batches of the pass, where no step of {shares.world_size} processes begins: each "
            f"takes a whole batch. Go on with a number of processes that divides {done}, such as that of the interrupted run, or "
            "start a new run."
        )
    return items


class Dealing:
    """Gives the parts one by one, which may be long before their batches are made and handed out.

    Args:
        parts: those of this process.

    Attributes:
        shares: what the parts count that were given and are not handed out.
    """

    def __init__(self, parts: Iterator[Part]) -> None:
        self._parts = parts
        self.shares: deque[float] = deque()
        self._samples = 0

    def __iter__(self) -> Iterator[Any]:
        for item, samples, share in self._parts:
            self._samples = samples
            self.shares.append(share)
            yield item

    def size(self, item: Any) -> int:
        """Returns how many samples the step of the latest item has on all processes."""
        return self._samples

    def handing_out(self, fetch: Callable[[], Any], data: Any) -> Callable[[], Any]:
        """Returns `fetch` such that it sets `data.share` to what the batch counts that it returns.

        Args:
            fetch: gives the batches of the parts, in their order.
            data: has the share; a weak proxy where it holds what is returned.
        """
        following = self.shares.popleft

        def fetch_and_tell() -> Any:
            batch = fetch()
            data.share = following()
            return batch

        return fetch_and_tell
