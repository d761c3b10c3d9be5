"""The shuffled order of a pass, as a function of seed and pass alone."""

from __future__ import annotations

import torch

from framework.seeding import derive_seed


def order(n: int, seed: int, epoch: int) -> list[int]:
    """Returns the indices 0 to n - 1 in the order in which a shuffling loader gives them in one pass.

    Args:
        n: how many samples there are.
        seed: that of the run.
        epoch: the number of the pass; the first is 0.

    Example:
        >>> from framework.data import order
        >>> sorted(order(5, seed=1, epoch=0))
        [0, 1, 2, 3, 4]
        >>> order(100, seed=1, epoch=0) == order(100, seed=1, epoch=1)
        False
    """
    indices: list[int] = torch.randperm(n, generator=torch.Generator().manual_seed(derive_seed(seed, epoch))).tolist()
    return indices
