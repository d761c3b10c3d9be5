"""Random numbers: seeding them all, keeping a stream as it was, and algorithms that give the same bits each time."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

_LARGEST_SEED = 2**63 - 1
NUMPY_SEEDS = 2**32
"""How many seeds numpy knows: it takes those below."""
_64_BITS = 2**64 - 1


def seed_all(seed: int) -> None:
    """Seeds Python's, torch's (all devices) and, where they are in use, numpy's and torch_xla's global generators.

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
    if not 0 <= seed <= _LARGEST_SEED:
        raise ValueError(f"A seed is an integer from 0 to 2**63 - 1, got {seed}")
    random.seed(seed)
    torch.manual_seed(seed)
    if (numpy := sys.modules.get("numpy")) is not None:
        numpy.random.seed(seed % NUMPY_SEEDS)
    if (xla := _xla_in_use()) is not None:
        xla.set_rng_state(seed)  # torch.manual_seed does not reach it


def derive_seed(seed: int, *parts: int) -> int:
    """Returns a seed that follows from another one and from some numbers, well mixed: near inputs give unrelated seeds.

    See: Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014), for the mixing function.
    """
    mixed = seed & _64_BITS
    for part in parts:
        mixed = (mixed + 0x9E3779B97F4A7C15 * (part + 1)) & _64_BITS
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _64_BITS
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _64_BITS
        mixed ^= mixed >> 31
    return mixed >> 1  # within torch's and our range of seeds


def random_state() -> dict[str, Any]:
    """Returns the states of the global generators, by library; of the devices, those that are in use.

    That of torch_xla is exact between two steps: its generator also counts steps, which it does not show.
    """
    states: dict[str, Any] = {"python": random.getstate(), "torch": torch.get_rng_state()}
    if (numpy := sys.modules.get("numpy")) is not None:
        kind, keys, *rest = numpy.random.get_state()
        states["numpy"] = (kind, keys.tolist(), *rest)  # plain numbers, so that torch.load reads them with weights_only
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        states["cuda"] = torch.cuda.get_rng_state_all()
    if torch.backends.mps.is_available():
        states["mps"] = torch.mps.get_rng_state()
    if (xla := _xla_in_use()) is not None:
        states["xla"] = xla.get_rng_state()
    return states


def set_random_state(states: dict[str, Any]) -> None:
    """Puts the global generators back to `states`."""
    random.setstate(states["python"])
    torch.set_rng_state(states["torch"].cpu())
    if "numpy" in states:
        import numpy  # the saved run had it

        numpy.random.set_state(states["numpy"])
    if "cuda" in states:
        torch.cuda.set_rng_state_all([state.cpu() for state in states["cuda"]])
    if "mps" in states:
        torch.mps.set_rng_state(states["mps"].cpu())
    if "xla" in states and (xla := _xla_in_use()) is not None:  # a run saved on a TPU may go on elsewhere
        xla.set_rng_state(states["xla"])


def _xla_in_use() -> Any:
    """Returns torch_xla's module with its generator, None where it has not started: a question to it would start it."""
    torch_xla = sys.modules.get("torch_xla")
    if torch_xla is None or not torch_xla._XLAC._xla_runtime_is_initialized():
        return None
    return sys.modules["torch_xla.core.xla_model"]


class RandomStream:
    """A random stream of its own: inside a `with` block the global generators give its numbers, afterwards they are as before.

    A second block goes on where the first one stopped.

    Args:
        seed: where the stream starts; also one above those of `seed_all`, as `torch.seed()` draws them.

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
        self._seed = seed % (_LARGEST_SEED + 1)
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


@contextmanager
def deterministic_algorithms(wanted: bool) -> Iterator[None]:
    """Makes torch choose deterministic algorithms while the block runs."""
    if not wanted:
        yield
        return
    enabled, warn_only = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(enabled, warn_only=warn_only)
        torch.backends.cudnn.benchmark = benchmark
