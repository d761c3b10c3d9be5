"""The manifest of a checkpoint: what belongs to it, with sizes and SHA-256 sums, and a sum of its own."""

from __future__ import annotations

import json
import platform
import re
import sys
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import safetensors
import torch

from framework.checkpoint.encoding import decode, from_json, to_json
from framework.checkpoint.writer import Entry
from framework.errors import CheckpointError

FORMAT = 1
SHARDED = 2
"""The format of a checkpoint with shards; all others stay as they were, so that an older framework reads them."""
NAME = "manifest.json"
LARGEST = 4 << 20
"""Bytes of a manifest: room for the shards of some thousand processes."""
_FILE = re.compile(r"[a-z_]+\.(json|safetensors)")
_SHARD = re.compile(r"shard-[0-9]{5,}-model-[0-9]{5,}-of-[0-9]{5,}\.safetensors")  # torch.distributed.checkpoint names them so
_STEP_FOLDER = re.compile(r"step-([0-9]{8,})(?:\.([1-9][0-9]*))?")
_WRONG = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


class DamagedError(CheckpointError):
    """A checkpoint is not what was written: a file is missing, cut, changed, or not ours. Another one may be whole."""


class Manifest(NamedTuple):
    """What is known of a checkpoint before its parts are read.

    Attributes:
        step: the step it was saved at, which its folder is named after.
        best: whether it was the best one when it was saved.
        facts: what the caller added.
        versions: what wrote it: framework, torch, safetensors, python.
        files: size and sum of each file.
        sharded: the names of the parts with tensors in shard files.
    """

    step: int
    best: bool
    facts: Any
    versions: dict[str, str]
    files: dict[str, Entry]
    sharded: tuple[str, ...]


def order_of(folder: str) -> tuple[int, int] | None:
    """Returns (step, number) of a folder's name, by which checkpoints are ordered; None for other names.

    Example:
        >>> from framework.checkpoint.manifest import order_of
        >>> order_of("step-00000012"), order_of("step-00000012.3"), order_of("last.json")
        ((12, 0), (12, 3), None)
    """
    match = _STEP_FOLDER.fullmatch(folder)
    return match and (int(match[1]), int(match[2] or 0))


def is_shard(file: str) -> bool:
    """Says whether a name is that of a shard file.

    Example:
        >>> from framework.checkpoint.manifest import is_shard
        >>> is_shard("shard-00002-model-00001-of-00001.safetensors"), is_shard("model.safetensors")
        (True, False)
    """
    return _SHARD.fullmatch(file) is not None


def describe(step: int, files: dict[str, Entry], *, best: bool, facts: Any, sharded: Sequence[str] = ()) -> bytes:
    """Returns the bytes of a manifest.

    Args:
        step: of the run.
        files: size and sum of each file.
        best: whether no earlier checkpoint of the run is as good.
        facts: as `encode` returned them.
        sharded: the names of the parts with tensors in shard files.

    Raises:
        CheckpointError: there are too many files.
    """
    versions = {
        "framework": sys.modules["framework"].__version__,  # the front door is imported from nowhere inside
        "torch": torch.__version__,
        "safetensors": safetensors.__version__,
        "python": platform.python_version(),
    }
    listed = {name: entry._asdict() for name, entry in files.items()}
    shards = {"sharded": list(sharded)} if sharded else {}
    number = SHARDED if sharded else FORMAT
    data = seal({"format": number, "step": step, "best": best, "facts": facts, "versions": versions, "files": listed, **shards})
    if len(data) > LARGEST:
        raise CheckpointError(
            f"The manifest of {len(files)} files has {len(data)} bytes; {LARGEST} are allowed. Use fewer processes."
        )
    return data


def seal(content: dict[str, Any]) -> bytes:
    """Returns `content` as JSON, with the SHA-256 of its shortest form at the end: the same in every format version."""
    return json.dumps({**content, "sha256": sha256(to_json(content)).hexdigest()}, allow_nan=False, indent=1).encode()


def parse(data: bytes, folder: Path) -> Manifest:
    """Returns what the bytes of a manifest say.

    They are taken only if they are, byte for byte, what `seal` makes of their content; so any changed bit is found.

    Raises:
        DamagedError: they are not, or the manifest is that of another folder.
        CheckpointError: its format is another one than this framework's.
    """
    path = folder / NAME
    try:
        content = from_json(data)
        del content["sha256"]
        whole = seal(content) == data
    except _WRONG as error:
        raise DamagedError(f"{path} is damaged: it is no manifest ({type(error).__name__}: {error}).") from error
    if not whole:
        raise DamagedError(f"{path} is damaged: its content does not agree with its own SHA-256.")
    if content.get("format") not in (FORMAT, SHARDED):
        raise CheckpointError(_other_format(content, folder))
    try:
        files = {name: Entry(**entry) for name, entry in content["files"].items()}
        sharded = tuple(content["sharded"]) if content["format"] == SHARDED else ()
        _check_files(files, sharded)
        facts = decode(content["facts"], {})
        manifest = Manifest(int(content["step"]), bool(content["best"]), facts, content["versions"], files, sharded)
    except (*_WRONG, CheckpointError) as error:
        raise DamagedError(f"{path} is damaged: it is no manifest of format {content['format']} ({error}).") from error
    order = order_of(folder.name)
    if order is not None and order[0] != manifest.step:
        raise DamagedError(f"{path} is damaged: it is of step {manifest.step}, in a folder of step {order[0]}.")
    return manifest


def _other_format(content: dict[str, Any], folder: Path) -> str:
    found, versions = content.get("format"), content.get("versions")
    writer = versions.get("framework") if isinstance(versions, dict) else None
    return (
        f"{folder} is a checkpoint of format {found!r}, written by framework {writer}. "
        f"This framework, {sys.modules['framework'].__version__}, reads formats {FORMAT} and {SHARDED}. "
        f"Use {'a newer' if isinstance(found, int) and found > SHARDED else 'the older'} framework for it."
    )


def _check_files(files: dict[str, Entry], sharded: Sequence[str]) -> None:
    for part in sharded:
        if f"{part}.json" not in files:
            raise ValueError(f"{part!r} is sharded, and no part")
    for name, entry in files.items():
        shard = bool(sharded) and is_shard(name)
        if not shard and (not _FILE.fullmatch(name) or name == NAME):
            raise ValueError(f"{name!r} is no name of a part's file")
        if type(entry.size) is not int or type(entry.sha256) is not str:
            raise TypeError(f"{name} has the size {entry.size!r} and the sum {entry.sha256!r}")
        if not shard and f"{name.partition('.')[0]}.json" not in files:
            raise ValueError(f"{name} comes without its .json")
