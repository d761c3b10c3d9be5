import datetime
import enum
from collections import defaultdict, deque, namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from framework import CheckpointError
from framework.checkpoint.encoding import encode
from framework.checkpoint.refusals import refusal, tensor_refusal

Point = namedtuple("Point", "x")


class Color(enum.IntEnum):
    RED = 1


class Text(str):
    __slots__ = ()


class Frozen(frozenset):
    __slots__ = ()


@pytest.mark.fault(34)
@pytest.mark.parametrize(
    ("value", "words"),
    [
        (Path("data"), r"is a PosixPath, which a checkpoint cannot hold. Store str\(...\)."),
        (Color.RED, "is a Color, .* Store its name or value."),
        (datetime.timedelta(1), r"is a timedelta, .* Store its total_seconds\(\)."),
        (datetime.datetime(2020, 1, 1), r"is a datetime, .* Store its isoformat\(\)."),
        (nn.ReLU(), r"is a ReLU, .* Store its state_dict\(\)."),
        (torch.optim.SGD([torch.ones(1)]), r"is a SGD, .* Store its state_dict\(\)."),
        (torch.Generator(), r"is a Generator, .* Store its get_state\(\)."),
        (torch.device("cpu"), r"is a device, .* Store str\(...\)."),
        (bytearray(), r"is a bytearray, .* Store bytes\(...\)."),
        (Text(), r"is a Text, .* Store str\(...\)."),
        (1j, r"is a complex, .* Store the pair \(z.real, z.imag\)."),
        (defaultdict(), r"is a defaultdict, .* Store dict\(...\)."),
        (Point(1), r"is a Point, .* Store tuple\(...\)."),
        (deque(), r"is a deque, .* Store list\(...\)."),
        (range(2), r"is a range, .* Store list\(...\)."),
        (Frozen(), r"is a Frozen, .* Store set\(...\)."),
        (np.float64(1), r"is a numpy.float64, .* Store its item\(\)."),
        (np.bool_(1), r"is a numpy.bool, .* Store its item\(\)."),
        (np.array(1), r"is a numpy.ndarray, .* Store its item\(\)."),
        (np.ones(2), r"is a numpy.ndarray, .* Store torch.from_numpy\(...\) or its tolist\(\)."),
        (torch.ones(1).as_subclass(type("Mine", (torch.Tensor,), {})), "is a Mine, .* Store its values as a plain torch.Tensor."),
        (nn.UninitializedParameter(), "is an UninitializedParameter, .* as a plain torch.Tensor."),
        (slice(2), "is a slice, .* Store what it is made of: numbers, texts, lists, dicts and tensors."),
        (print, "is a builtin_function_or_method, .* Store what it is made of"),
        (Color, "is an EnumType, .* Store what it is made of"),
    ],
    ids=lambda value: "" if isinstance(value, str) else type(value).__name__,
)
def test_what_to_store_in_place(value, words):
    assert type(refusal("run.x", value)) is CheckpointError
    with pytest.raises(CheckpointError, match=f"^run.x {words}"):
        encode({"x": value}, "run")


@pytest.mark.fault(34)
@pytest.mark.filterwarnings("ignore:.*nested tensors", "ignore:.*quantize")
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: torch.ones(2).to_sparse(), r"is a tensor of layout torch.sparse_coo, .* Store its to_dense\(\)."),
        (
            lambda: torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.quint8),
            r"is a quantized tensor, .* Store its dequantize\(\)",
        ),
        (lambda: torch.ones(2, device="meta"), "is a tensor on the meta device, without values, .* Give it values"),
        (
            lambda: torch.nested.nested_tensor([torch.ones(1), torch.ones(2)]),
            r"is a nested tensor, .* Store the list that its unbind\(\)",
        ),
    ],
    ids=["sparse", "quantized", "meta", "nested"],
)
def test_tensors_of_kinds_that_are_not_stored(make, words):
    with pytest.raises(CheckpointError, match=f"^run.x {words}"):
        encode({"x": make()}, "run")


def test_other_tensors_are_not_refused():
    assert tensor_refusal("run", torch.ones(2)) is None
