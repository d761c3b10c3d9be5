"""Random numbers: seeding them all, and keeping a stream as it was."""

from __future__ import annotations

import random
import sys
from typing import Any

import torch

_LARGEST_NUMPY_SEED = 2**32


def seed_all(seed: int) -> None:
    """Seeds Python's, torch's (all devices) and, where it is imported, numpy's global generators.

    Args:
        seed: any integer from 0 to 2**63 - 1.

    Raises:
        TypeError, ValueError: not such an integer.

    Example:
        >>> import torch
        >>> from framework import seed_all
        >>> seed_all(1); first = torch.rand(2); seed_all(1); torch.equal(first, torch.rand(2))
        True
    """
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise TypeError(f"A seed is an integer from 0 to 2**63 - 1, got {seed!r} ({type(seed).__name__})")
    if not 0 <= seed < 2**63:
        raise ValueError(f"A seed is an integer from 0 to 2**63 - 1, got {seed}")
    random.seed(seed)
    torch.manual_seed(seed)
    if (numpy := sys.modules.get("numpy")) is not None:
        numpy.random.seed(seed % _LARGEST_NUMPY_SEED)


def random_state() -> dict[str, Any]:
    """Returns the states of the global generators, by library; of the devices, those that are in use."""
    states: dict[str, Any] = {"python": random.getstate(), "torch": torch.get_rng_state()}
    if (numpy := sys.modules.get("numpy")) is not None:
        states["numpy"] = numpy.random.get_state()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        states["cuda"] = torch.cuda.get_rng_state_all()
    if torch.backends.mps.is_available():
        states["mps"] = torch.mps.get_rng_state()
    return states


def set_random_state(states: dict[str, Any]) -> None:
    """Puts the global generators back to `states`."""
    random.setstate(states["python"])
    torch.set_rng_state(states["torch"])
    if "numpy" in states:
        sys.modules["numpy"].random.set_state(states["numpy"])
    if "cuda" in states:
        torch.cuda.set_rng_state_all(states["cuda"])
    if "mps" in states:
        torch.mps.set_rng_state(states["mps"])


class RandomStream:
    """A random stream of its own: inside a `with` block the global generators give its numbers, afterwards they are as before.

    A second block goes on where the first one stopped.

    Args:
        seed: where the stream starts.

    Example:
        >>> import torch
        >>> from framework.seeding import RandomStream
        >>> torch.manual_seed(0); before = torch.get_rng_state()
        <torch._C.Generator object at ...>
        >>> with RandomStream(1):
        ...     _ = torch.rand(3)
        >>> torch.equal(before, torch.get_rng_state())
        True
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._own: dict[str, Any] | None = None
        self._outer: dict[str, Any] = {}

    def __enter__(self) -> None:
        self._outer = random_state()
        if self._own is None:
            seed_all(self._seed)
        else:
            set_random_state(self._own)

    def __exit__(self, *exception: object) -> None:
        self._own = random_state()
        set_random_state(self._outer)
