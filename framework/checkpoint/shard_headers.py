"""What the headers of shard files say of each tensor: which box of it lies where; and whether the boxes are all of it.

Nothing is believed: a tensor is read only where its boxes fill it, each number once, so that no memory stays as it was found.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import safe_open

from framework.checkpoint.tensor_file import DTYPES

_SHARDING = "DCP_SHARDING_INFO"  # the words of torch.distributed.checkpoint
_OFFSETS = "saved_offsets"
_BY_NAME = {name: dtype for dtype, name in DTYPES.items()}


class Box(NamedTuple):
    """One piece of a tensor.

    Attributes:
        start: its first place in each dimension.
        sizes: how far it goes from there.
        dtype: the library's name of its type.
    """

    start: tuple[int, ...]
    sizes: tuple[int, ...]
    dtype: str


def read_boxes(paths: Iterable[Path]) -> dict[str, list[Box]]:
    """Returns the boxes in shard files, by the keys of their tensors.

    Raises:
        ValueError, LookupError, TypeError, SafetensorError, OSError: a header is not what is written.
    """
    found: dict[str, list[Box]] = {}
    for path in paths:
        with safe_open(path, framework="pt", device="cpu") as file:
            sharding = json.loads((file.metadata() or {})[_SHARDING])
            for key in file.keys():  # noqa: SIM118 # no mapping
                piece = file.get_slice(key)
                start = sharding[key][_OFFSETS]
                if type(start) is not list or not all(type(place) is int for place in start):
                    raise TypeError(f"{key} in {path.name} lies at {start!r}, and a place is a list of integers")
                found.setdefault(key, []).append(Box(tuple(start), tuple(piece.get_shape()), piece.get_dtype()))
    return found


def check_boxes(boxes: Mapping[str, Sequence[Box]], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, torch.dtype]:
    """Returns the types of tensors whose boxes fill them.

    Args:
        boxes: by key, as `read_boxes` returned them.
        shapes: of the tensors to read, by key.

    Raises:
        ValueError, LookupError: a tensor is not there, is of no known type or of several, or is not filled.
    """
    dtypes = {}
    for key, shape in shapes.items():
        names = {box.dtype for box in boxes[key]}
        if len(names) > 1:
            raise ValueError(f"the pieces of {key} are of several types: {', '.join(sorted(names))}")
        dtypes[key] = _BY_NAME[names.pop()]
        if not _fill(boxes[key], shape):
            raise ValueError(f"the pieces of {key} do not make up a tensor of shape {tuple(shape)}")
    return dtypes


def _fill(boxes: Sequence[Box], shape: Sequence[int]) -> bool:
    """Says whether the boxes lie inside the shape, apart from each other, and are all of it."""
    volume = 0
    beside: list[Box] = []  # those that reach the start of the next one, in the first dimension
    for box in sorted(boxes):
        if len(box.start) != len(shape) or len(box.sizes) != len(shape):
            return False
        if any(start < 0 or start + size > whole for start, size, whole in zip(box.start, box.sizes, shape, strict=True)):
            return False
        if not prod(box.sizes):
            continue  # of a rank that has nothing of a small tensor
        beside = [other for other in beside if _end(other)[:1] > box.start[:1]]
        if any(_meet(box, other) for other in beside):
            return False
        beside.append(box)
        volume += prod(box.sizes)
    return volume == prod(shape)


def _end(box: Box) -> tuple[int, ...]:
    return tuple(start + size for start, size in zip(box.start, box.sizes, strict=True))


def _meet(one: Box, other: Box) -> bool:
    return all(
        start < end and begin < stop for start, stop, begin, end in zip(one.start, _end(one), other.start, _end(other), strict=True)
    )
