"""States as JSON and tensors: what Python and PyTorch keep in a state_dict comes back equal, types included, without pickle.

None, bool, finite numbers, texts, lists and dicts with texts as keys are what they are in JSON. All else is an object with one key
that begins with "$" and says what it is, such as {"$tuple": [1, 2]}; a tensor is {"$tensor": NAME}. The name of a class occurs
nowhere: data never says what code to run.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from math import inf, isfinite, nan
from types import NoneType
from typing import Any

import torch
from torch import Tensor, nn

from framework.checkpoint.refusals import refusal, sharded_refusal, tensor_refusal
from framework.checkpoint.sharded import is_dtensor
from framework.checkpoint.tensor_file import DTYPES, METADATA
from framework.errors import CheckpointError

_DEEPEST = 100
"""Containers inside each other."""
_LONGEST_INT = 1024
"""Bits. Python refuses to read decimal numbers of many digits."""
_EVERY_DTYPE = {str(value).removeprefix("torch."): value for value in vars(torch).values() if isinstance(value, torch.dtype)}
_BY_BYTES = {"float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu", "float4_e2m1fn_x2"}
"""The types of one byte that only newer versions of the safetensors library know."""


def encode(state: Any, where: str) -> tuple[Any, dict[str, Tensor]]:
    """Returns `state` as what JSON can hold, and its tensors by name.

    The name of a tensor is its key in a flat dict, and further inside the path to it: "state/0/exp_avg". Nothing is copied: the
    tensors are detached faces of those in `state`. Tied ones (the same memory seen in the same way) are one object under several
    names. A Parameter is stored as a tensor, an OrderedDict as a dict.

    Args:
        state: any nesting of None, bool, int, float, str, bytes, list, tuple, dict, Counter, set, frozenset, Tensor, DTensor,
            torch.dtype and torch.Size, each of exactly that type.
        where: what the state is called in messages.

    Raises:
        CheckpointError: something in it is of another type, contains itself, or lies too deep.

    Example:
        >>> import torch
        >>> from framework.checkpoint import decode, encode
        >>> skeleton, tensors = encode({"weight": torch.ones(2), "betas": (0.9, 0.99)}, "model")
        >>> skeleton
        {'weight': {'$tensor': 'weight'}, 'betas': {'$tuple': [0.9, 0.99]}}
        >>> decode(skeleton, tensors)
        {'weight': tensor([1., 1.]), 'betas': (0.9, 0.99)}
    """
    encoder = _Encoder()
    return encoder.encode(state, where, ""), encoder.tensors


class _Encoder:
    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self._stored: dict[tuple[Any, ...], Tensor] = {}
        self._names: dict[tuple[Any, ...], str] = {}  # of DTensors
        self._open: set[int] = set()

    def encode(self, value: Any, where: str, name: str) -> Any:
        kind = type(value)
        if kind is NoneType or kind is bool:
            return value
        if kind is int:
            return value if value.bit_length() <= _LONGEST_INT else {"$int": hex(value)}
        if kind is float:
            return value if isfinite(value) else {"$float": repr(value)}
        if kind is str:
            return value if _is_unicode(value) else {"$str": _base64(value.encode(errors="surrogatepass"))}
        if kind is bytes:
            return {"$bytes": _base64(value)}
        if kind is torch.dtype:
            return {"$dtype": str(value).removeprefix("torch.")}
        if kind is Tensor or kind is nn.Parameter:
            return self._tensor(value, where, name)
        if is_dtensor(value):
            return self._sharded(value, where, name)
        with self._inside(value, where):
            return self._container(value, where, name)

    @contextmanager
    def _inside(self, value: Any, where: str) -> Iterator[None]:
        if id(value) in self._open:
            raise CheckpointError(
                f"{where} is the {type(value).__name__} that it lies in. Store no structure that contains itself."
            )
        if len(self._open) == _DEEPEST:
            raise CheckpointError(f"{where} lies more than {_DEEPEST} containers deep. Store a flatter structure.")
        self._open.add(id(value))
        yield
        self._open.remove(id(value))

    def _container(self, value: Any, where: str, name: str) -> Any:
        kind = type(value)
        if kind is dict or kind is OrderedDict or kind is Counter:
            return self._mapping(value, where, name)
        if kind is set or kind is frozenset:
            items = [self._key(item, f"an item of {where}") for item in value]
            return {f"${kind.__name__}": sorted(items, key=json.dumps)}  # the order of a set differs between processes
        if kind is torch.Size:
            return {"$size": list(value)}
        if kind is not list and kind is not tuple:
            raise refusal(where, value)
        items = [self.encode(item, f"{where}[{place}]", _inner(name, place)) for place, item in enumerate(value)]
        return items if kind is list else {"$tuple": items}

    def _mapping(self, value: Mapping[Any, Any], where: str, name: str) -> Any:
        pairs = []
        for key, item in value.items():
            encoded = self._key(key, f"a key of {where}")
            pairs.append([encoded, self.encode(item, _at(where, key), _inner(name, key))])
        if type(value) is Counter:
            return {"$counter": pairs}
        if all(type(key) is str and not key.startswith("$") for key, _ in pairs):
            return dict(pairs)
        return {"$dict": pairs}

    def _key(self, key: Any, where: str) -> Any:
        tensors = len(self.tensors)
        encoded = self.encode(key, where, "")
        if len(self.tensors) > tensors:
            raise CheckpointError(
                f"{where} is or holds a tensor, which a checkpoint cannot hold there. Use texts, numbers or tuples."
            )
        return encoded

    def _tensor(self, tensor: Tensor, where: str, name: str) -> Any:
        if (error := tensor_refusal(where, tensor)) is not None:
            raise error
        stored_as = str(tensor.dtype).removeprefix("torch.")
        if tensor.dtype not in DTYPES and not tensor.is_complex() and stored_as not in _BY_BYTES:
            raise CheckpointError(
                f"{where} is a tensor of {tensor.dtype}, which a checkpoint cannot hold. Store it as torch.uint8."
            )
        identity = _identity(tensor)
        if identity not in self._stored:
            self._stored[identity] = _plain(tensor.detach())
        name = self._free(name)
        self.tensors[name] = self._stored[identity]
        return {"$tensor": name if tensor.dtype in DTYPES else [name, stored_as]}

    def _sharded(self, tensor: Any, where: str, name: str) -> Any:
        """Returns the name of a DTensor; tied ones have one name, since no other process needs to know of a second."""
        local = tensor.detach().to_local()
        if (error := sharded_refusal(where, tensor, local.dtype in DTYPES) or tensor_refusal(where, local)) is not None:
            raise error
        identity = (*_identity(local), tensor.shape, tensor.placements)
        if identity not in self._names:
            self._names[identity] = name = self._free(name)
            self.tensors[name] = tensor.detach()
        return {"$tensor": self._names[identity]}

    def _free(self, name: str) -> str:
        """Returns a name that no tensor has yet: this one, if it can be."""
        while name in self.tensors or name == METADATA or not _is_unicode(name):
            name = name.encode(errors="replace").decode() + "~"
        return name


def _identity(tensor: Tensor) -> tuple[Any, ...]:
    """Returns what two tensors have in common only if they see the same memory in the same way."""
    view = (tensor.storage_offset(), tensor.shape, tensor.stride(), tensor.dtype, tensor.is_conj(), tensor.is_neg())
    return (tensor.untyped_storage()._cdata, *view)


def _plain(tensor: Tensor) -> Tensor:
    """Returns the tensor as one of `DTYPES`: complex numbers as pairs, types that the library may not know as bytes."""
    if tensor.is_complex():
        return torch.view_as_real(tensor.resolve_conj()).resolve_neg()
    return (tensor if tensor.dtype in DTYPES else tensor.view(torch.uint8)).resolve_neg()


def _is_unicode(text: str) -> bool:
    """Says whether a text can be written as UTF-8: one with halves of surrogate pairs, as from odd file names, cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _base64(data: bytes) -> str:
    return b64encode(data).decode()


def _inner(name: str, key: Any) -> str:
    return f"{name}/{key}" if name else str(key)


def _at(where: str, key: Any) -> str:
    return f"{where}.{key}" if type(key) is str and key.isidentifier() else f"{where}[{key!r}]"


def to_json(skeleton: Any) -> bytes:
    """Returns what `encode` gave as JSON."""
    return json.dumps(skeleton, allow_nan=False, separators=(",", ":")).encode()


def from_json(data: bytes) -> Any:
    """Returns what `to_json` was given.

    Raises:
        ValueError, RecursionError: no JSON.
    """
    return json.loads(data, parse_constant=_no_constant)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def decode(skeleton: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Returns the state that `encode` took apart.

    Safe for data from anywhere: it can only become the types that `encode` takes.

    Raises:
        CheckpointError: not what `encode` gives.
    """
    try:
        return _Decoder(tensors).decode(skeleton)
    except CheckpointError:
        raise
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:  # RecursionError is one
        raise CheckpointError(f"This is no state that the framework wrote: {type(error).__name__}: {error}") from error


class _Decoder:
    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._tensors = tensors
        self._typed: dict[tuple[int, str], Tensor] = {}

    def decode(self, node: Any) -> Any:
        if type(node) is list:
            return [self.decode(item) for item in node]
        if type(node) is not dict:
            return node
        tag = next((key for key in node if key.startswith("$")), None)
        if tag is None:
            return {key: self.decode(item) for key, item in node.items()}
        if len(node) > 1 or tag not in _DECODERS:
            raise CheckpointError(
                f"This is no state that the framework wrote: {tag!r} in an object with {len(node)} keys. "
                f"Allowed, alone in an object: {', '.join(_DECODERS)}."
            )
        return _DECODERS[tag](self, node[tag])

    def items(self, node: Any) -> list[Any]:
        if type(node) is not list:
            raise TypeError(f"a list should be here, not {type(node).__name__}")
        return [self.decode(item) for item in node]

    def pairs(self, node: Any) -> dict[Any, Any]:
        return {key: item for key, item in self.items(node)}  # noqa: C416 # refuses what are no pairs

    def tensor(self, node: Any) -> Tensor:
        if type(node) is str:
            return self._tensors[node]
        name, stored_as = node
        stored, dtype = self._tensors[name], _EVERY_DTYPE[stored_as]
        typed = torch.view_as_complex(stored) if dtype.is_complex else stored.view(dtype)
        return self._typed.setdefault((id(stored), stored_as), typed)  # tied ones stay one object


_DECODERS: dict[str, Callable[[_Decoder, Any], Any]] = {
    "$tensor": _Decoder.tensor,
    "$tuple": lambda decoder, node: tuple(decoder.items(node)),
    "$dict": _Decoder.pairs,
    "$counter": lambda decoder, node: Counter(decoder.pairs(node)),
    "$set": lambda decoder, node: set(decoder.items(node)),
    "$frozenset": lambda decoder, node: frozenset(decoder.items(node)),
    "$size": lambda _, node: torch.Size(node),
    "$dtype": lambda _, node: _EVERY_DTYPE[node],
    "$bytes": lambda _, node: b64decode(node, validate=True),
    "$str": lambda _, node: b64decode(node, validate=True).decode(errors="surrogatepass"),
    "$float": lambda _, node: {"nan": nan, "inf": inf, "-inf": -inf}[node],
    "$int": lambda _, node: int(node, 16),
}
