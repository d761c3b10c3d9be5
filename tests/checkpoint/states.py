"""States to save, and when two of them are the same."""

import math
from collections import Counter, OrderedDict

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

DTYPES = [
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2),
    *(torch.float8_e4m3fnuz, torch.float8_e5m2fnuz, torch.float8_e8m0fnu, torch.float4_e2m1fn_x2),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint64, torch.uint32, torch.uint16, torch.uint8, torch.bool),
    *(torch.complex128, torch.complex64, torch.complex32),
]


def filled(dtype, shape, start=0):
    """Returns a tensor whose every byte counts; of truth values, where bytes are 0 or 1."""
    size = torch.empty((), dtype=dtype).element_size()
    raw = torch.arange(start, start + math.prod(shape) * size)
    raw = raw % 2 if dtype is torch.bool else raw * 37 % 251
    return raw.to(torch.uint8).view(dtype).reshape(shape) if raw.numel() else torch.empty(shape, dtype=dtype)


def a_state(step, size=24):
    """Returns the parts of a small run at a step."""
    weight = torch.arange(float(size)).reshape(2, -1) + step
    return {
        "model": OrderedDict([("net.weight", weight), ("net.bias", torch.full((3,), step)), ("head.weight", weight)]),
        "run": {"step": step, "rng": (3, tuple(range(step, step + 5)), None), "moments": {0: {"exp_avg": weight * 2}}},
    }


def bits(tensor):
    tensor = tensor.detach().resolve_conj().resolve_neg().contiguous()
    return bytes(tensor.reshape(-1).view(torch.uint8).tolist()) if tensor.numel() else b""


def canonical(value):
    """Returns something that is equal for two states only if they are the same in types, order and bits."""
    kind = type(value)
    if kind is Tensor or kind is nn.Parameter:
        return "Tensor", str(value.dtype), tuple(value.shape), bits(value)
    if kind is float:
        return "float", "nan" if math.isnan(value) else value.hex()
    if kind in (dict, OrderedDict, Counter):
        return "Counter" if kind is Counter else "dict", [(canonical(key), canonical(item)) for key, item in value.items()]
    if kind in (set, frozenset):
        return kind.__name__, sorted((canonical(item) for item in value), key=repr)
    if kind in (list, tuple):
        return kind.__name__, [canonical(item) for item in value]
    return kind.__name__, value


TENSORS = st.builds(
    lambda dtype, shape, start, turned: (
        filled(dtype, shape, start).mT if turned and len(shape) > 1 else filled(dtype, shape, start)
    ),
    st.sampled_from(DTYPES),
    st.lists(st.integers(0, 3), max_size=3).map(tuple),
    st.integers(0, 200),
    st.booleans(),
)
ATOMS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers().map(lambda number: number << 1500),
    st.floats(allow_nan=False),
    st.text(),
    st.text(st.characters(codec=None)),
    st.sampled_from(["$tuple", "$", "__metadata__", "\ud83d\ude00", "", "a/b"]),
)
KEYS = st.one_of(ATOMS, st.tuples(ATOMS), st.tuples(ATOMS, st.tuples(ATOMS, ATOMS)))
HASHABLE = st.one_of(KEYS, st.binary(), st.frozensets(KEYS, max_size=3))
LEAVES = st.one_of(
    *(ATOMS, st.floats(), TENSORS, st.binary(), st.sets(HASHABLE, max_size=3), st.frozensets(HASHABLE, max_size=3)),
    st.sampled_from(DTYPES),
    st.lists(st.integers(0, 9), max_size=3).map(torch.Size),
    st.dictionaries(KEYS, st.integers(), max_size=3).map(Counter),
)
STATES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(KEYS, inner, max_size=3),
        st.dictionaries(st.text(max_size=3), inner, max_size=3).map(OrderedDict),
    ),
    max_leaves=12,
)
