"""Which samples of each step are those of one process, where several train one model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from framework.errors import SettingError


@dataclass(frozen=True)
class Shares:
    """How the data is split: in each step every process takes a part of it, and all parts in the order of ranks are the step.

    Args:
        rank: of this process.
        world_size: how many processes there are.
        whole: `batch_size` is that of all processes together, else that of each.
        count: returns how many samples a batch has, for data whose batches cannot be split: a list, an iterable. None: they all
            count the same.

    Raises:
        SettingError: a rank that there is not.

    Example:
        >>> from torch.utils.data import DataLoader
        >>> from framework.data import Shares, ordered
        >>> loader = DataLoader(range(7), batch_size=2)
        >>> for rank in (0, 1):
        ...     data = ordered(loader, seed=1, shares=Shares(rank, world_size=2))
        ...     print([(batch.tolist(), round(data.share, 2)) for batch in data])
        [([0, 1], 1.0), ([4, 5], 1.33)]
        [([2, 3], 1.0), ([6], 0.67)]
    """

    rank: int
    world_size: int
    whole: bool = False
    count: Callable[[Any], int] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.world_size:
            raise SettingError(f"rank should be from 0 to world_size - 1, got rank={self.rank} and world_size={self.world_size}.")

    def part(self, samples: int) -> tuple[int, int]:
        """Returns where the part of this process begins in a step of so many samples, and how many it has.

        The first ranks get one more where they cannot all get the same.
        """
        each, more = divmod(samples, self.world_size)
        return self.rank * each + min(self.rank, more), each + (self.rank < more)

    def step_size(self, batch_size: int) -> int:
        """Returns how many samples a step of all processes has.

        Raises:
            SettingError: they cannot be split into parts of one size.
        """
        if not self.whole:
            return batch_size * self.world_size
        if over := batch_size % self.world_size:
            below = batch_size - over
            sizes = [str(size) for size in (below, below + self.world_size) if size]
            raise SettingError(
                f'batch="global" splits each batch over all processes, and batch_size={batch_size} does not split into '
                f"{self.world_size} parts of one size. Use batch_size={' or '.join(sizes)}, or another number of processes."
            )
        return batch_size

    def refuse_whole(self, data: str) -> None:
        """Refuses `whole` for data whose batches cannot be split.

        Raises:
            SettingError: always with `whole`.
        """
        if self.whole:
            raise SettingError(
                f'batch="global" splits each batch over all processes by its indices, which {data} does not have. Use '
                'batch="rank", where each process takes whole batches, or a map-style DataLoader with a batch_size.'
            )


def differences(facts: Sequence[Mapping[str, Any]]) -> str | None:
    """Says what the data of one process has otherwise than that of the first, None where all have the same.

    Args:
        facts: of the data of each process, by rank: numbers and names, None where unknown. A name in the plural is what is counted.

    Example:
        >>> from framework.data.shares import differences
        >>> differences([{"samples": 1000, "batch size": 8}, {"samples": 900, "batch size": 8}])
        'rank 1 has 900 samples, rank 0 has 1000'
    """
    first = facts[0]
    for rank, other in enumerate(facts):
        for name in (*first, *other):
            expected, came = first.get(name), other.get(name)
            if came != expected:
                what = f"{came!r} {name}" if name.endswith("s") else f"{name} {came!r}"
                return f"rank {rank} has {what}, rank 0 has {expected!r}"
    return None
