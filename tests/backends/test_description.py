from collections import OrderedDict, UserDict, namedtuple
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from framework.backends.description import describe_tensor, describe_tree

Pair = namedtuple("Pair", "x y")
ONES = torch.ones(3, 2)


@dataclass
class Sample:
    x: object
    y: object


class Graph:
    def to(self, device):
        return self


@pytest.mark.parametrize(
    ("tree", "text"),
    [
        (ONES, "float32 (3, 2)"),
        (torch.tensor(True), "bool ()"),
        ((ONES, torch.ones(3, dtype=torch.int64)), "(float32 (3, 2), int64 (3,))"),
        ((ONES,), "(float32 (3, 2),)"),
        ((), "()"),
        ([ONES.bfloat16(), None, 3, "text", 1.5], "[bfloat16 (3, 2), None, int, str, float]"),
        ({"x": ONES, 3: {}}, "{x: float32 (3, 2), 3: {}}"),
        ({(1, 2): ONES}, "{tuple: float32 (3, 2)}"),
        (OrderedDict(x=ONES), "{x: float32 (3, 2)}"),
        (UserDict(x=ONES), "{x: float32 (3, 2)}"),
        (Pair(ONES, [1]), "Pair(x=float32 (3, 2), y=[int])"),
        (Sample(ONES, None), "Sample(x=float32 (3, 2), y=None)"),
        (Sample, "type"),
        (Graph(), "Graph"),
        (torch.eye(3).to_sparse(), "float32 (3, 3)"),
        (nn.Parameter(ONES), "float32 (3, 2)"),
        (nn.LazyLinear(2).weight, "float32 (no shape yet)"),
    ],
)
def test_what_is_inside_is_told_by_type_and_shape(tree, text):
    assert describe_tree(tree) == text


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
def test_a_nested_tensor_has_no_shape_of_its_own():
    assert describe_tensor(torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])) == "nested float32 (2, ...)"


def test_numpy_arrays_are_told_like_tensors():
    numpy = pytest.importorskip("numpy")
    assert describe_tree((numpy.ones((3, 2)), numpy.float32(1))) == "(float64 (3, 2), float32 ())"


def test_structures_of_many_items_are_cut():
    assert describe_tree(["name"] * 6) == "[str, str, str, str, str, str]"
    assert describe_tree(["name"] * 32) == "[str, str, str, ... 29 more]"
    assert describe_tree({str(number): 1 for number in range(9)}) == "{0: int, 1: int, 2: int, ... 6 more}"


def test_what_lies_deep_or_in_itself_is_cut():
    endless = [ONES]
    endless.append(endless)
    assert describe_tree(endless).endswith("[float32 (3, 2), [...]]]]]]")
    assert describe_tree([[[[[[]]]]]]) == "[[[[[[]]]]]]"


def test_a_line_is_never_longer_than_asked_for():
    tree = {f"feature_{number}": (ONES,) * 6 for number in range(6)}
    assert len(describe_tree(tree)) == 160
    assert describe_tree(tree).endswith("...")
    assert describe_tree(ONES, longest=10) == "float32..."
