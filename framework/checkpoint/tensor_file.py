"""Tensors in a file of the safetensors format: written straight from their memory, read by the safetensors library.

The library's own writer wants everything at once in a form of its own, and cannot be summed up on the way.

See: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from framework.errors import CheckpointError

DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint64: "U64",
    torch.uint32: "U32",
    torch.uint16: "U16",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
"""The types that every supported version of the library reads, with its names for them."""
METADATA = "__metadata__"
"""The one name that no tensor can have in such a file."""
_LARGEST_HEADER = 100_000_000
"""Bytes. The library reads no larger one."""


def write_tensors(write: Callable[[bytes | memoryview], None], tensors: Mapping[str, Tensor]) -> None:
    """Writes tensors of the types in `DTYPES`, from any device and with any strides, one after the other.

    A tensor that comes under several names is written under the first one; the metadata names the others: {other: first}.

    Raises:
        CheckpointError: there are too many names for one file.
    """
    assert sys.byteorder == "little", "the format is little-endian, and bytes are written as they lie in memory"
    first: dict[int, str] = {}
    aliases = {name: target for name, tensor in tensors.items() if (target := first.setdefault(id(tensor), name)) != name}
    names = sorted(first.values(), key=lambda name: (-tensors[name].itemsize, name))  # so that each lies at a multiple of its size
    header: dict[str, Any] = {METADATA: dict(sorted(aliases.items()))} if aliases else {}
    end = 0
    for name in names:
        tensor = tensors[name]
        begin, end = end, end + tensor.nbytes
        header[name] = {"dtype": DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > _LARGEST_HEADER:
        raise CheckpointError(
            f"The names of {len(names)} tensors take {len(text)} bytes, and a file can hold {_LARGEST_HEADER}. "
            "Join small tensors into larger ones, or split the part in two."
        )
    write(len(text).to_bytes(8, "little") + text)
    for name in names:
        write(_bytes_of(tensors[name]))


def _bytes_of(tensor: Tensor) -> memoryview:
    """Returns the memory of a tensor; of a copy where it lies on a device or with gaps."""
    return tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Returns the tensors of a file, on the CPU and in memory of their own, also under the names that its metadata adds."""
    with safe_open(path, framework="pt", device="cpu") as file:
        tensors: dict[str, Tensor] = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 # no mapping
        aliases = file.metadata() or {}
    return tensors | {alias: tensors[target] for alias, target in aliases.items()}
