"""An error in putting samples into a batch says which samples, and how they differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from numbers import Number
from reprlib import repr as shortened
from typing import Any, NamedTuple

from torch.utils.data import default_collate, default_convert

from framework.data.sample_errors import listed, refuse_stop_iteration, seen_through


class NamedCollate:
    """Calls a `collate_fn`; an error in it gets a note about the samples. The note is part of the text that a worker sends.

    Args:
        collate: the user's, or torch's.
        dataset: what the samples come from; where it has `latest`, those are their indices.
    """

    def __init__(self, collate: Callable[[Any], Any], dataset: Any) -> None:
        self._collate = collate
        self._dataset = dataset

    def __call__(self, samples: Any) -> Any:
        try:
            return self._collate(samples)
        except Exception as error:
            self._name(error, samples)
            raise

    def _name(self, error: Exception, samples: Any) -> None:
        indices = getattr(self._dataset, "latest", None)
        dataset, named = seen_through(getattr(self._dataset, "dataset", self._dataset), () if indices is None else indices)
        what = f"{'samples' if indices is None else listed(named, len(indices))} of {type(dataset).__name__}"
        by_torch = self._collate in (default_collate, default_convert)
        where = f"putting {what} into a batch" if by_torch else f"the loader's own collate_fn, for {what}"
        refuse_stop_iteration(error, where)
        error.add_note(f"It was raised in {where}.")
        if not by_torch or not isinstance(samples, list):
            return  # a collate_fn may take samples that differ
        if not samples:
            error.add_note("The batch sampler of the loader gave a batch without indices. Leave such batches out there.")
        elif (fault := find_fault(samples)) is not None:
            names = named if len(named) == len(samples) else list(range(len(samples)))
            error.add_note(fault.text(names))


class Fault(NamedTuple):
    """Why samples make no batch.

    Attributes:
        path: where in the samples, as it is written after a sample's name.
        found: by position in the batch, what is there.
        alike: it is the difference between the two; else the one alone makes no batch.
    """

    path: str
    found: dict[int, str]
    alike: bool

    def text(self, names: Sequence[Any]) -> str:
        """Says it, and what to do.

        Args:
            names: of the samples.
        """
        place = f" at {self.path}" if self.path else ""
        found = " and ".join(f"{what} in sample {names[position]!r}" for position, what in self.found.items())
        if self.alike:
            return (
                f"The samples differ{place}: {found}. Make them alike in the dataset, or give the DataLoader a collate_fn that "
                "does, for sequences with torch.nn.utils.rnn.pad_sequence."
            )
        return (
            f"There is {found}{place}, of which torch makes no batch. Convert it in the dataset into a tensor, or give the "
            "DataLoader a collate_fn that takes it."
        )


def find_fault(samples: Sequence[Any]) -> Fault | None:
    """Returns the first thing in the samples of a batch that torch's own collate cannot take, None where nothing is found."""
    first = samples[0]
    for position, sample in enumerate(samples[1:], 1):
        if (difference := _difference(first, sample, "")) is not None:
            path, one, other = difference
            return Fault(path, {0: one, position: other}, alike=True)
    foreign = _foreign(first, "")
    return None if foreign is None else Fault(foreign[0], {0: foreign[1]}, alike=False)


def _difference(one: Any, other: Any, path: str) -> tuple[str, str, str] | None:
    """Returns the place of the first difference and what is there in either sample."""
    if _is_array(one) and _is_array(other):
        return (path, _told(one), _told(other)) if tuple(one.shape) != tuple(other.shape) else None
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        if any(key not in other for key in one):
            return path, f"the keys {list(one)}", f"{list(other)}"
        inner = ((one[key], other[key], f"{path}[{key!r}]") for key in one)
        return next((found for pair in inner if (found := _difference(*pair)) is not None), None)
    if _is_sequence(one) and _is_sequence(other):
        if len(one) != len(other):
            return path, f"{len(one)} items", f"{len(other)}"
        inner = ((one[index], other[index], f"{path}[{index}]") for index in range(len(one)))
        return next((found for pair in inner if (found := _difference(*pair)) is not None), None)
    both_numbers = isinstance(one, Number) and isinstance(other, Number)
    return None if type(one) is type(other) or both_numbers else (path, _told(one), _told(other))


def _foreign(item: Any, path: str) -> tuple[str, str] | None:
    """Returns the place of the first thing that is no tensor, array, number or text, and what it is."""
    if isinstance(item, Mapping):
        inner = [(value, f"{path}[{key!r}]") for key, value in item.items()]
    elif _is_sequence(item):
        inner = [(value, f"{path}[{index}]") for index, value in enumerate(item)]
    else:
        array_of_objects = str(getattr(item, "dtype", "")) == "object"
        fits = hasattr(item, "dtype") or isinstance(item, Number | str | bytes)
        return (path, _told(item)) if array_of_objects or not fits else None
    return next((found for pair in inner if (found := _foreign(*pair)) is not None), None)


def _is_sequence(item: Any) -> bool:
    return isinstance(item, Sequence) and not isinstance(item, str | bytes)


def _is_array(item: Any) -> bool:
    return hasattr(item, "dtype") and isinstance(getattr(item, "shape", None), tuple)


def _told(item: Any) -> str:
    if _is_array(item):
        return f"{str(item.dtype).removeprefix('torch.')} {tuple(item.shape)}"
    return shortened(item) if item is None or isinstance(item, Number | str) else f"an object of type {type(item).__name__}"
