"""Predictions as a file: tensors by name, or a line of JSON a sample. Never a pickle."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

import framework.checkpoint.files as files
from framework.checkpoint.tensor_file import DTYPES, write_tensors
from framework.errors import ConfigError
from framework.loggers.jsonl import to_json


def write_safetensors(predictions: Any, target: Path) -> str:
    """Writes each tensor under its name and returns what was written, in words.

    Args:
        predictions: what `predict` returned.
        target: the file; one that is there is replaced.

    Raises:
        ConfigError: something is no tensor, or of a type that such a file cannot hold.
    """
    tensors: dict[str, Tensor] = {}
    for name, leaf in _named(predictions, lists=True).items():
        tensor = _as_tensor(leaf)
        if tensor is None or tensor.dtype not in DTYPES:
            kind = type(leaf).__name__ if tensor is None else str(tensor.dtype).removeprefix("torch.")
            raise ConfigError(f"{name} is of type {kind}, which a .safetensors file cannot hold. Write {target.stem}.jsonl.")
        tensors[name] = tensor.detach()  # an object of its own: one tensor under two names would be written once
    with _written_whole(target) as file:
        write_tensors(partial(files.write, file), tensors)
    return "\n".join(f"{name}  {str(each.dtype).removeprefix('torch.')} {tuple(each.shape)}" for name, each in tensors.items())


def write_jsonl(predictions: Any, target: Path) -> str:
    """Writes a line of JSON for each sample and returns what was written, in words.

    NaN and the infinities become the texts "NaN", "Infinity" and "-Infinity", as in metrics.jsonl.

    Args:
        predictions: what `predict` returned.
        target: the file; one that is there is replaced.

    Raises:
        ConfigError: the parts of the predictions are of different lengths, so that there are no samples.
    """
    columns = {name: to_json(leaf) for name, leaf in _named(predictions, lists=False).items()}
    lengths = {name: len(column) for name, column in columns.items()}
    if len({*lengths.values()}) > 1:
        told = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise ConfigError(f"A .jsonl file has a line a sample, but {told} entries. Write {target.stem}.safetensors.")
    with _written_whole(target) as file:
        for row in zip(*columns.values(), strict=True):
            line = json.dumps(dict(zip(columns, row, strict=True)), allow_nan=False)
            files.write(file, line.encode() + b"\n")
    return f"{next(iter(lengths.values()), 0)} lines with {', '.join(columns)}"


WRITERS: dict[str, Callable[[Any, Path], str]] = {".safetensors": write_safetensors, ".jsonl": write_jsonl}
"""By the end of the file's name."""


def _named(predictions: Any, *, lists: bool) -> dict[str, Any]:
    """Returns what is in a tree by name.

    Raises:
        ConfigError: two things have the same name.
    """
    named: dict[str, Any] = {}
    for name, leaf in _leaves(predictions, lists):
        if name in named:
            raise ConfigError(f"Two predictions are called {name}. Let prediction_step return other names.")
        named[name] = leaf
    return named


def _leaves(tree: Any, lists: bool, name: str = "prediction") -> Iterator[tuple[str, Any]]:
    """Yields what is in a tree by name, such as "prediction.logits" and "prediction.0"; into lists only on request."""
    if isinstance(tree, tuple) or (lists and isinstance(tree, list)):
        tree = dict(zip(getattr(tree, "_fields", range(len(tree))), tree, strict=True))
    if not isinstance(tree, Mapping):
        yield name, tree
        return
    for key, item in tree.items():
        yield from _leaves(item, lists, f"{name}.{key}")


def _as_tensor(leaf: Any) -> Tensor | None:
    """Returns a leaf as a tensor; None where it is neither a tensor nor an array of numbers."""
    if isinstance(leaf, Tensor):
        return leaf
    if not hasattr(leaf, "__array__"):
        return None
    try:
        return torch.as_tensor(leaf)
    except TypeError:  # an array of texts or objects
        return None


@contextmanager
def _written_whole(target: Path) -> Iterator[BinaryIO]:
    """Yields a file that becomes `target` when the block ends: at no moment a half is there under that name."""
    temporary = target.with_name(f".tmp-{target.name}-{os.getpid()}")
    try:
        with files.create(temporary) as file:
            yield file
            files.sync(file)
        files.rename(temporary, target)
        files.sync_folder(target.parent)
    finally:
        temporary.unlink(missing_ok=True)
