"""One checkpoint: a folder that is written beside its name, made durable and then renamed, and that is verified before it is read.

Of each part there is NAME.json, its structure, and NAME.safetensors, its tensors, if it has any. See `manifest.py` for what
lists them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from hashlib import file_digest
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError
from torch import Tensor

import framework.checkpoint.files as files
import framework.checkpoint.manifest as manifests
from framework.checkpoint.encoding import decode, encode, from_json, to_json
from framework.checkpoint.manifest import DamagedError, Manifest
from framework.checkpoint.tensor_file import read_tensors, write_tensors
from framework.checkpoint.writer import Entry, HashingWriter
from framework.errors import CheckpointError

LARGEST_JSON = 64 << 20
"""Bytes of one part's structure."""
LARGEST_FACTS = manifests.LARGEST // 2
_PART = re.compile(r"[a-z_]+")


class Part(NamedTuple):
    """One part, ready to be written: its structure as JSON, and its tensors by name."""

    text: bytes
    tensors: dict[str, Tensor]


class PreparedSave(NamedTuple):
    """Everything of a save, looked through and ready to be written."""

    step: int
    parts: dict[str, Part]
    facts: Any
    best: bool


def prepare_save(step: int, parts: Mapping[str, Any], *, best: bool = False, facts: Any = None) -> PreparedSave:
    """Returns a save with its states encoded, its tensors still those of the states.

    Args:
        step: at which the states are those given, 0 or more.
        parts: states by name; a name is made of a-z and _.
        best: whether no earlier checkpoint of the run is as good.
        facts: a small state without tensors, to be read without the parts.

    Raises:
        CheckpointError: a step or name that cannot be, or a state that cannot be stored.
    """
    if type(step) is not int or step < 0:
        raise CheckpointError(f"A checkpoint is of a step, an integer from 0; got {step!r} ({type(step).__name__}).")
    encoded = {}
    for name, state in parts.items():
        if not isinstance(name, str) or not _PART.fullmatch(name) or name == "manifest":
            raise CheckpointError(f"{name!r} cannot be the name of a part. Use a-z and _, and not 'manifest'.")
        skeleton, tensors = encode(state, name)
        text = to_json(skeleton)
        if len(text) > LARGEST_JSON:
            raise CheckpointError(
                f"The part {name!r} has {len(text)} bytes beside its tensors; {LARGEST_JSON} are allowed. Store lists as tensors."
            )
        encoded[name] = Part(text, tensors)
    skeleton, tensors = encode(facts, "facts")
    if tensors:
        raise CheckpointError(f"facts hold tensors ({', '.join(tensors)}). Store them in a part, or numbers in their place.")
    if (size := len(manifests.seal({"facts": skeleton}))) > LARGEST_FACTS:
        raise CheckpointError(f"facts have {size} bytes; {LARGEST_FACTS} are allowed. Store them in a part.")
    return PreparedSave(step, encoded, skeleton, best)


def write_checkpoint(parent: Path, save: PreparedSave) -> Path:
    """Writes a checkpoint below `parent` and returns its folder, which is there whole, or not at all, whatever happens.

    Raises:
        CheckpointError: it cannot be written. What was begun is removed.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> from framework.checkpoint import open_checkpoint, prepare_save, write_checkpoint
        >>> with TemporaryDirectory() as folder:
        ...     path = write_checkpoint(Path(folder), prepare_save(12, {"run": {"lr": 0.1}}))
        ...     path.name, open_checkpoint(path).read("run")
        ('step-00000012', {'lr': 0.1})
    """
    target = parent / f"step-{save.step:08d}"
    temporary = parent / f".tmp-{save.step}-{os.getpid()}"
    try:
        if os.path.lexists(temporary):
            files.remove(temporary)  # an earlier save could not
        files.make_folder(temporary)
        _fill(temporary, save)
        files.sync_folder(temporary)
        target = _free(parent, save.step)
        files.rename(temporary, target)
        files.sync_folder(parent)
    except BaseException as error:
        _discard(temporary, error)
        if isinstance(error, OSError):
            raise files.cannot_write(f"Saving step {save.step} as {target}", error) from error
        raise
    return target


def _fill(folder: Path, save: PreparedSave) -> None:
    entries = {}
    for name, part in save.parts.items():
        entries[f"{name}.json"] = _write(folder / f"{name}.json", part.text)
        if part.tensors:
            with HashingWriter(folder / f"{name}.safetensors") as file:
                write_tensors(file.write, part.tensors)
            entries[f"{name}.safetensors"] = file.entry
    _write(folder / manifests.NAME, manifests.describe(save.step, entries, best=save.best, facts=save.facts))


def _write(path: Path, data: bytes) -> Entry:
    with HashingWriter(path) as file:
        file.write(data)
    return file.entry


def _free(parent: Path, step: int) -> Path:
    """Returns the folder for a step: where that step was saved before, one with a number above all that are there."""
    numbers = [order[1] for path in parent.iterdir() if (order := manifests.order_of(path.name)) and order[0] == step]
    return parent / (f"step-{step:08d}.{max(numbers) + 1}" if numbers else f"step-{step:08d}")


def _discard(temporary: Path, error: BaseException) -> None:
    try:
        if os.path.lexists(temporary):
            files.remove(temporary)
    except OSError as second:
        error.add_note(f"What was begun could not be removed either: {second}")


def read_manifest(folder: Path) -> Manifest:
    """Returns the manifest of a checkpoint; of its other files nothing is looked at.

    Raises:
        DamagedError: it is not what was written.
        CheckpointError: there is no checkpoint, or it is of another format.
    """
    if not folder.is_dir():
        raise CheckpointError(f"There is no checkpoint {folder}. Give a folder such as runs/a/step-00000012.")
    path = folder / manifests.NAME
    if not os.path.lexists(path):
        raise DamagedError(f"{folder} is no checkpoint, or damaged: it has no {manifests.NAME}.")
    return manifests.parse(_read(path, manifests.LARGEST), folder)


def open_checkpoint(path: Path) -> Checkpoint:
    """Verifies a checkpoint, every byte of it, and returns it; of its parts nothing is parsed before.

    Raises:
        DamagedError: it is not what was written.
        CheckpointError: there is no checkpoint, or it is of another format.
    """
    manifest = read_manifest(path)
    for name, entry in manifest.files.items():
        size = _size(path / name)
        if size != entry.size:
            raise DamagedError(f"{path / name} is damaged: it has {size} bytes, and {entry.size} were written.")
        if name.endswith(".json") and size > LARGEST_JSON:
            raise DamagedError(f"{path / name} is damaged or not the framework's: it has {size} bytes; {LARGEST_JSON} are allowed.")
    for name, entry in manifest.files.items():
        try:
            with files.open_regular(path / name) as file:
                found = file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise DamagedError(f"{path / name} cannot be read: {error}.") from error
        if found != entry.sha256:
            raise DamagedError(f"{path / name} is damaged: its SHA-256 is not the one that was written.")
    return Checkpoint(path, manifest)


class Checkpoint:
    """A verified checkpoint, from `open_checkpoint`.

    Attributes:
        path: its folder.
        step: the step it was saved at.
        best: whether it was the best one when it was saved.
        facts: what the caller added.
        versions: what wrote it: framework, torch, safetensors, python.
        parts: the names of its parts.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.step = manifest.step
        self.best = manifest.best
        self.facts = manifest.facts
        self.versions = manifest.versions
        self.parts = tuple(name.removesuffix(".json") for name in manifest.files if name.endswith(".json"))
        self._with_tensors = {name.removesuffix(".safetensors") for name in manifest.files if name.endswith(".safetensors")}

    def read(self, part: str) -> Any:
        """Returns the state of a part; its tensors are on the CPU.

        Raises:
            CheckpointError: there is no such part, or it is not what the framework writes.
        """
        if part not in self.parts:
            raise CheckpointError(f"{self.path} has no part {part!r}. It has {', '.join(self.parts) or 'none'}.")
        path = self.path / f"{part}.json"
        try:
            skeleton = from_json(_read(path, LARGEST_JSON))
            tensors = read_tensors(path.with_suffix(".safetensors")) if part in self._with_tensors else {}
            return decode(skeleton, tensors)
        except (CheckpointError, SafetensorError, OSError, LookupError, RuntimeError, TypeError, ValueError) as error:
            raise DamagedError(f"{path.with_suffix('')} is damaged or not the framework's: {error}") from error


def _size(path: Path) -> int:
    """Returns the size of a plain file."""
    if not os.path.lexists(path):
        raise DamagedError(f"{path} is damaged: it is missing.")
    if not files.is_regular(path):
        raise DamagedError(f"{path} is damaged or not the framework's: it is a link or a folder, not a plain file.")
    return path.stat().st_size


def _read(path: Path, largest: int) -> bytes:
    """Returns the content of a plain file of at most `largest` bytes."""
    if _size(path) > largest:
        raise DamagedError(f"{path} is damaged or not the framework's: it is larger than {largest} bytes.")
    try:
        with files.open_regular(path) as file:
            return file.read(largest)
    except OSError as error:
        raise DamagedError(f"{path} cannot be read: {error}.") from error
