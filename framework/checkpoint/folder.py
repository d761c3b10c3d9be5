"""One checkpoint: a folder that is written beside its name, made durable and then renamed, and that is verified before it is read.

Of each part there is NAME.json, its structure, and NAME.safetensors, its tensors, if it has any. Tensors that several processes
hold a part of each are in the shards of these processes: see `sharded.py`. See `manifest.py` for what lists them all.
"""

from __future__ import annotations

import os
from functools import partial
from hashlib import file_digest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

import framework.checkpoint.files as files
import framework.checkpoint.manifest as manifests
from framework.checkpoint.encoding import decode, from_json
from framework.checkpoint.manifest import DamagedError, Manifest
from framework.checkpoint.prepared import LARGEST_JSON, PreparedSave
from framework.checkpoint.sharded import key_of, read_shards, write_shards
from framework.checkpoint.tensor_file import read_tensors, write_tensors
from framework.checkpoint.together import Peers, together
from framework.checkpoint.writer import Entry, HashingWriter
from framework.errors import CheckpointError

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh


def write_checkpoint(parent: Path, save: PreparedSave, group: Peers | None = None) -> Path:
    """Writes a checkpoint below `parent` and returns its folder, which is there whole, or not at all, whatever happens.

    Args:
        parent: on a disk that all processes of the group share.
        save: where it has shards, one for each process.
        group: the processes that write together, all of which call this; None for this one alone.

    Raises:
        CheckpointError: it cannot be written, here or by another process. What was begun is removed.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> from framework.checkpoint import open_checkpoint, prepare_save, write_checkpoint
        >>> with TemporaryDirectory() as folder:
        ...     path = write_checkpoint(Path(folder), prepare_save(12, {"run": {"lr": 0.1}}))
        ...     path.name, open_checkpoint(path).read("run")
        ('step-00000012', {'lr': 0.1})
    """
    target, shards = parent / f"step-{save.step:08d}", save.shards
    if shards and group is None:
        raise CheckpointError(
            f"Step {save.step} holds {next(iter(shards))}, of which each process has a part: all of them have to save it, "
            "together. Pass group."
        )
    main, rank, saving = group is None or group.is_main, 0 if group is None else group.rank, f"the checkpoint of step {save.step}"
    name = together(group, f"{saving}: name", lambda: f".tmp-{save.step}-{os.getpid()}")[0]
    temporary = parent / name
    try:
        together(group, f"{saving}: folder", partial(_begin, temporary) if main else lambda: None)
        together(group, f"{saving}: sight of the folder", partial(_see, temporary))
        written = together(group, f"{saving}: shards", lambda: write_shards(temporary, shards, rank) if shards else {})
        entries = {name: entry for mine in written for name, entry in mine.items()}
        return together(group, f"{saving}: end", lambda: _finish(temporary, parent, save, entries) if main else target)[0]
    except BaseException as error:
        if main:
            _discard(temporary, error)
        if isinstance(error, OSError):
            raise files.cannot_write(f"Saving step {save.step} as {target}", error) from error
        raise


def _begin(temporary: Path) -> None:
    if os.path.lexists(temporary):
        files.remove(temporary)  # an earlier save could not
    files.make_folder(temporary)


def _see(temporary: Path) -> None:
    if not temporary.is_dir():
        raise CheckpointError(
            f"{temporary} was made by rank 0 and is not there for this process. All processes write into one folder: put it on a "
            "disk that all machines share."
        )


def _finish(temporary: Path, parent: Path, save: PreparedSave, entries: dict[str, Entry]) -> Path:
    """Writes all but the shards, whose entries are given, and gives the folder its name; returns it."""
    for name, part in save.parts.items():
        entries[f"{name}.json"] = _write(temporary / f"{name}.json", part.text)
        if part.tensors:
            with HashingWriter(temporary / f"{name}.safetensors") as file:
                write_tensors(file.write, part.tensors)
            entries[f"{name}.safetensors"] = file.entry
    sharded = [name for name, part in save.parts.items() if part.shards]
    data = manifests.describe(save.step, entries, best=save.best, facts=save.facts, sharded=sharded)
    _write(temporary / manifests.NAME, data)
    files.sync_folder(temporary)
    target = _free(parent, save.step)
    files.rename(temporary, target)
    files.sync_folder(parent)
    return target


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
        self._sharded = manifest.sharded
        self._shards = [name for name in manifest.files if manifests.is_shard(name)]

    def read(self, part: str, mesh: DeviceMesh | None = None) -> Any:
        """Returns the state of a part; its tensors are on the CPU, and no process waits for another one.

        Args:
            part: its name.
            mesh: of processes; tensors that were sharded are DTensors on it then, split along their first dimension, and each
                process reads its part alone. None: they are whole.

        Raises:
            CheckpointError: there is no such part, or it is not what the framework writes.
        """
        if part not in self.parts:
            raise CheckpointError(f"{self.path} has no part {part!r}. It has {', '.join(self.parts) or 'none'}.")
        path = self.path / f"{part}.json"
        try:
            skeleton = from_json(_read(path, LARGEST_JSON))
            tensors = read_tensors(path.with_suffix(".safetensors")) if part in self._with_tensors else {}
            if part in self._sharded:
                keys = {key_of(part, name): name for name in skeleton["shapes"]}
                shapes = {key: tuple(skeleton["shapes"][name]) for key, name in keys.items()}
                read = read_shards(self.path, self._shards, shapes, mesh)
                skeleton, tensors = skeleton["state"], tensors | {name: read[key] for key, name in keys.items()}
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
