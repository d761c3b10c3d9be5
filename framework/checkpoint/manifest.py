"""The manifest of a checkpoint: what belongs to it, with sizes and SHA-256 sums, and a sum of its own."""

from __future__ import annotations

import json
import platform
import re
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import safetensors
import torch

from framework.checkpoint.encoding import decode, from_json, to_json
from framework.checkpoint.writer import Entry
from framework.errors import CheckpointError

FORMAT = 1
NAME = "manifest.json"
LARGEST = 1 << 20
"""Bytes of a manifest."""
_FILE = re.compile(r"[a-z_]+\.(json|safetensors)")
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
    """

    step: int
    best: bool
    facts: Any
    versions: dict[str, str]
    files: dict[str, Entry]


def order_of(folder: str) -> tuple[int, int] | None:
    """Returns (step, number) of a folder's name, by which checkpoints are ordered; None for other names.

    Example:
        >>> from framework.checkpoint.manifest import order_of
        >>> order_of("step-00000012"), order_of("step-00000012.3"), order_of("last.json")
        ((12, 0), (12, 3), None)
    """
    match = _STEP_FOLDER.fullmatch(folder)
    return match and (int(match[1]), int(match[2] or 0))


def describe(step: int, files: dict[str, Entry], *, best: bool, facts: Any) -> bytes:
    """Returns the bytes of a manifest.

    Args:
        step: of the run.
        files: size and sum of each file.
        best: whether no earlier checkpoint of the run is as good.
        facts: as `encode` returned them.
    """
    versions = {
        "framework": sys.modules["framework"].__version__,  # the front door is imported from nowhere inside
        "torch": torch.__version__,
        "safetensors": safetensors.__version__,
        "python": platform.python_version(),
    }
    listed = {name: entry._asdict() for name, entry in files.items()}
    data = seal({"format": FORMAT, "step": step, "best": best, "facts": facts, "versions": versions, "files": listed})
    assert len(data) <= LARGEST, "facts are limited, and a file takes some hundred bytes"
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
    if content.get("format") != FORMAT:
        raise CheckpointError(_other_format(content, folder))
    try:
        files = {name: Entry(**entry) for name, entry in content["files"].items()}
        _check_files(files)
        manifest = Manifest(int(content["step"]), bool(content["best"]), decode(content["facts"], {}), content["versions"], files)
    except (*_WRONG, CheckpointError) as error:
        raise DamagedError(f"{path} is damaged: it is no manifest of format {FORMAT} ({error}).") from error
    order = order_of(folder.name)
    if order is not None and order[0] != manifest.step:
        raise DamagedError(f"{path} is damaged: it is of step {manifest.step}, in a folder of step {order[0]}.")
    return manifest


def _other_format(content: dict[str, Any], folder: Path) -> str:
    found, versions = content.get("format"), content.get("versions")
    writer = versions.get("framework") if isinstance(versions, dict) else None
    return (
        f"{folder} is a checkpoint of format {found!r}, written by framework {writer}. "
        f"This framework, {sys.modules['framework'].__version__}, reads format {FORMAT}. "
        f"Use {'a newer' if isinstance(found, int) and found > FORMAT else 'the older'} framework for it."
    )


def _check_files(files: dict[str, Entry]) -> None:
    for name, entry in files.items():
        if not _FILE.fullmatch(name) or name == NAME:
            raise ValueError(f"{name!r} is no name of a part's file")
        if type(entry.size) is not int or type(entry.sha256) is not str:
            raise TypeError(f"{name} has the size {entry.size!r} and the sum {entry.sha256!r}")
        if f"{name.partition('.')[0]}.json" not in files:
            raise ValueError(f"{name} comes without its .json")
