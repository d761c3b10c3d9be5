"""The process's random streams on the CPU: seeding them for one batch, and keeping them out of what makes one.

A pass over small batches does both at each batch, so both have to be cheap. To read the state of Python's generator takes 15 us and
that of numpy's 60; where their memory shows that they have not drawn since the last time, they are not read again.
"""

from __future__ import annotations

import _random
import ctypes
import random
import sys
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch

from framework.seeding import NUMPY_SEEDS

T = TypeVar("T")


def seed_streams(seed: int) -> None:
    """Seeds Python's, torch's and, where it is in use, numpy's generator on the CPU.

    `seed_all` also walks every device, which takes as long as a small step.
    """
    _PYTHON.seed(seed)
    torch.default_generator.manual_seed(seed)
    if (numpy := sys.modules.get("numpy")) is not None:
        numpy.random.seed(seed % NUMPY_SEEDS)


def apart(call: Callable[[], T]) -> T:
    """Returns what `call` returns; whatever it draws and seeds, the streams are as before afterwards."""
    python, torchs, numpys = _PYTHON.keep(), torch.default_generator.get_state(), _NUMPY.keep()
    try:
        return call()
    finally:
        try:
            _put_back(python, torchs, numpys)
        except BaseException:  # the handler of a signal raised half-way
            _put_back(python, torchs, numpys)
            raise


class Apart(Iterator[Any]):
    """The steps of an iterator, each made apart from the process's streams.

    Args:
        steps: what seeds the streams itself.
    """

    def __init__(self, steps: Iterator[Any]) -> None:
        self._step = steps.__next__

    def __next__(self) -> Any:
        return apart(self._step)


def _put_back(python: Any, torchs: torch.Tensor, numpys: Any) -> None:
    random.setstate(python)
    torch.default_generator.set_state(torchs)
    _NUMPY.put_back(numpys)


def _memory(address: int, size: int) -> Any:
    """Returns the bytes at an address; `.raw` reads them."""
    return (ctypes.c_char * size).from_address(address)


class _PythonStream:
    """The generator behind the functions of `random`."""

    def __init__(self) -> None:
        self._generator: Any = random.getstate.__self__  # type: ignore[attr-defined]
        head = object.__basicsize__  # what every object has; the fields of the generator follow
        fields = _random.Random.__basicsize__ - head
        self._memory = _memory(id(self._generator) + head, fields)
        self._known: tuple[bytes, Any] = b"", (None, None, None)  # memory, and the state that it stands for

    def seed(self, seed: int) -> None:
        """Does what `random.seed` does with an integer, in two thirds of the time."""
        _random.Random.seed(self._generator, seed)
        self._generator.gauss_next = None

    def keep(self) -> Any:
        """Returns its state."""
        memory, (known, state) = self._memory.raw, self._known
        if memory != known or self._generator.gauss_next != state[2]:
            state = random.getstate()
            self._known = memory, state
        return state


class _NumpyStream:
    """The generator behind the functions of `numpy.random`; another one is put in its place instead of seeding it."""

    _BYTES = 624 * 4 + 4  # of a Mersenne twister: its words and its place in them

    def __init__(self) -> None:
        self._spare: list[Any] = []
        self._known: tuple[Any, Any, bytes] = None, None, b""  # a generator, and its memory when no normal number was in store

    def keep(self) -> tuple[Any, Any, Any] | None:
        """Returns the generator, its whole state where a normal number is in store, and the one in its place; None without numpy.

        Numpy makes normal numbers in pairs and stores the second one, which a change of generators drops.
        """
        if (numpy := sys.modules.get("numpy")) is None:
            return None
        generator, state = numpy.random.get_bit_generator(), None
        known, memory, without_store = self._known
        if generator is not known or memory.raw != without_store:
            state = numpy.random.get_state(legacy=False)
            if not state["has_gauss"]:
                state = None
                if type(generator) is numpy.random.MT19937:
                    memory = _memory(generator.ctypes.state_address, self._BYTES)
                    self._known = generator, memory, memory.raw
        lent = self._spare.pop() if self._spare else numpy.random.MT19937()
        numpy.random.set_bit_generator(lent)
        return generator, state, lent

    def put_back(self, kept: tuple[Any, Any, Any] | None) -> None:
        """Puts the generator back that `keep` returned."""
        if kept is None:
            return
        numpy, (generator, state, lent) = sys.modules["numpy"], kept
        numpy.random.set_bit_generator(generator)
        if state is not None:
            numpy.random.set_state(state)
        if lent not in self._spare:
            self._spare.append(lent)


_PYTHON = _PythonStream()
_NUMPY = _NumpyStream()
