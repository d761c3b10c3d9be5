"""Tensors that several processes hold a part of each: every process writes its own part, and any number of them reads.

The work is that of torch.distributed.checkpoint, with files of the safetensors format: no pickle is written, and none is read.
Which files there are says the manifest, as of all others.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping, Sequence
from hashlib import file_digest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

import framework.checkpoint.files as files
from framework.checkpoint.shard_headers import check_boxes, read_boxes
from framework.checkpoint.writer import Entry
from framework.errors import CheckpointError

if TYPE_CHECKING:
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.device_mesh import DeviceMesh

_FILE_BYTES = 64 << 20
"""Bytes of one file. While it is written, what is in it lies in memory twice more."""
_FILES = 16
"""Files of one process at most: a manifest lists those of all. Where they do not do, they are larger."""


def is_dtensor(value: Any) -> bool:
    """Says whether a value is a tensor of which each process holds a part. Costs no import.

    Example:
        >>> import torch
        >>> from framework.checkpoint.sharded import is_dtensor
        >>> is_dtensor(torch.ones(2))
        False
    """
    module = sys.modules.get("torch.distributed.tensor")  # else there is none
    return module is not None and isinstance(value, module.DTensor)


def is_sharded(state: Any) -> bool:
    """Says whether there is such a tensor in a state: then all processes save it together.

    Args:
        state: any nesting of dicts, lists and tuples.
    """
    if isinstance(state, Mapping):
        return any(map(is_sharded, state.values()))
    if isinstance(state, list | tuple):
        return any(map(is_sharded, state))
    return is_dtensor(state)


def key_of(part: str, name: str) -> str:
    """Returns how shard files name a tensor of a part."""
    return f"{part}/{name}"


def write_shards(folder: Path, tensors: Mapping[str, Any], rank: int) -> dict[str, Entry]:
    """Writes what this process holds of some tensors, and returns its files. All processes call it, and wait for each other.

    Args:
        folder: the same for all.
        tensors: DTensors by key, the same in all processes.
        rank: of this process.

    Returns:
        Sizes and sums of the files of this process, by name. Where only other processes have failed, there are none, or some.

    Raises:
        OSError, CheckpointError: this process could not write its part.
    """
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.default_planner import DefaultSavePlanner
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
    from torch.distributed.checkpoint.state_dict_saver import save

    class InOneGo(DefaultSavePlanner):
        def transform_object(self, write_item: Any, tensor: Any) -> Any:
            return super().transform_object(write_item, tensor).contiguous()

    numbers = _files_of(tensors)
    writer = HuggingFaceStorageWriter(str(folder), fqn_to_index_mapping=numbers, save_distributed=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "TypedStorage is deprecated", UserWarning)  # torch 2.9's own
        try:
            save(dict(tensors), storage_writer=writer, planner=InOneGo(flatten_state_dict=False))
        except CheckpointException as error:
            if rank in error.failures:
                raise _own(error, rank) from error
            return {}  # who failed says so itself
    return {path.name: _durable(path) for path in sorted(folder.glob(f"shard-{rank + 1:05d}-*"))}


def _files_of(tensors: Mapping[str, Any]) -> dict[str, int]:
    """Returns for each tensor the number of the file it goes to, from 1; the numbers of rank 0 count, which holds the most."""
    sizes = {key: tensor.to_local().nbytes for key, tensor in tensors.items()}
    room = max(_FILE_BYTES, -(-sum(sizes.values()) // _FILES))
    numbers, number, used = {}, 1, 0
    for key, size in sizes.items():
        if used and used + size > room and number < _FILES:
            number, used = number + 1, 0
        numbers[key], used = number, used + size
    return numbers


def _own(error: CheckpointException, rank: int) -> BaseException:
    """Returns what went wrong in this process, as what is raised of it."""
    own: BaseException = error.failures[rank][0]
    if isinstance(own, OSError | CheckpointError) or not isinstance(own, Exception):
        return own
    return CheckpointError(f"The shards of rank {rank} could not be written: {type(own).__name__}: {own}")


def _durable(path: Path) -> Entry:
    """Returns size and sum of a file that is written, once it is on the disk."""
    with path.open("r+b") as file:
        files.sync(file)
        digest = file_digest(file, "sha256").hexdigest()
        return Entry(file.tell(), digest)


def read_shards(
    folder: Path, names: Sequence[str], shapes: Mapping[str, tuple[int, ...]], mesh: DeviceMesh | None = None
) -> dict[str, Tensor]:
    """Returns tensors from shard files. No process waits for another one.

    Args:
        folder: of the files.
        names: of the files; no other one is looked at.
        shapes: of the tensors to read, by key.
        mesh: of processes, each of which reads its part of each tensor, along its first dimension; None reads whole tensors, on
            the CPU.

    Raises:
        ValueError, LookupError, TypeError, RuntimeError, SafetensorError, OSError: the files are not what is written.
    """
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
    from torch.distributed.checkpoint.filesystem import FileSystem
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
    from torch.distributed.checkpoint.state_dict_loader import load

    class Listed(FileSystem):
        def ls(self, path: Any) -> list[str]:
            return [str(folder / name) for name in names]

    dtypes = check_boxes(read_boxes(folder / name for name in names), shapes)
    tensors: dict[str, Any] = {key: _room(shape, dtypes[key], mesh) for key, shape in shapes.items()}
    reader = HuggingFaceStorageReader(str(folder))
    reader.fs = Listed()
    planner = DefaultLoadPlanner(flatten_state_dict=False)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled", UserWarning)  # it is not needed
        try:
            load(tensors, storage_reader=reader, planner=planner, no_dist=True)
        except CheckpointException as error:
            first, _ = next(iter(error.failures.values()))
            raise first from error
    return tensors


def _room(shape: tuple[int, ...], dtype: torch.dtype, mesh: DeviceMesh | None) -> Tensor:
    """Returns a tensor to read into: whole, or split over the last dimension of a mesh, as FSDP does."""
    if mesh is None:
        return torch.empty(shape, dtype=dtype)
    from torch.distributed.tensor import Replicate, Shard, empty

    last = Shard(0) if shape else Replicate()
    return empty(shape, dtype=dtype, device_mesh=mesh, placements=[*[Replicate()] * (mesh.ndim - 1), last])
