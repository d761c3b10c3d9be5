from collections import OrderedDict, UserDict, defaultdict, namedtuple
from types import MappingProxyType

import pytest
import torch

from framework import DataError
from framework.backends.tree import count_samples, join_trees, map_tensors

Pair = namedtuple("Pair", "x y")
ONES = torch.ones(3, 2)


def doubled(tree):
    return map_tensors(tree, lambda tensor: 2 * tensor)


def test_tensors_are_mapped_wherever_they_are_and_the_rest_stays():
    tree = {"a": [ONES, (ONES, "text", 3)], "b": Pair(ONES, None)}
    mapped = doubled(tree)
    assert torch.equal(mapped["a"][0], 2 * ONES)
    assert torch.equal(mapped["a"][1][0], 2 * ONES)
    assert mapped["a"][1][1:] == ("text", 3)
    assert type(mapped["b"]) is Pair
    assert torch.equal(tree["a"][0], ONES)


@pytest.mark.parametrize("container", [dict, OrderedDict, UserDict, lambda items: defaultdict(int, items)])
def test_mappings_keep_their_type(container):
    tree = container({"x": ONES})
    mapped = doubled(tree)
    assert type(mapped) is type(tree)
    assert torch.equal(mapped["x"], 2 * ONES)
    assert torch.equal(tree["x"], ONES)


def test_a_default_factory_is_kept():
    assert doubled(defaultdict(int, {"x": ONES})).default_factory is int


def test_mappings_that_cannot_change_become_dicts():
    assert torch.equal(doubled(MappingProxyType({"x": ONES}))["x"], 2 * ONES)


@pytest.mark.parametrize(
    ("batch", "samples"),
    [
        (ONES, 3),
        ((ONES, torch.ones(7)), 3),
        ([torch.ones(5), ONES], 5),
        ({"x": ONES}, 3),
        ({"names": ["a", "b", "c"], "x": ONES}, 3),
        (("name", {"deep": (None, ONES)}), 3),
        (torch.tensor(1.0), 1),
        ((torch.tensor(1.0), ONES), 1),
        (None, 1),
        ([], 1),
        ({}, 1),
        ("text", 1),
        ((1, 2), 1),
        (torch.ones(0, 2), 0),
    ],
)
def test_samples_are_the_first_dimension_of_the_first_tensor(batch, samples):
    assert count_samples(batch) == samples


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors is in prototype stage")
@pytest.mark.parametrize("layout", [torch.strided, torch.jagged])
def test_a_nested_tensor_has_as_many_samples_as_it_holds(layout):
    assert count_samples(torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=layout)) == 2


def test_outputs_are_joined_along_their_first_dimension():
    joined = join_trees([{"x": ONES, "y": (torch.tensor(1.0), "a")}, {"x": ONES[:1], "y": (torch.tensor(2.0), "b")}])
    assert joined["x"].shape == (4, 2)
    assert torch.equal(joined["y"][0], torch.tensor([1.0, 2.0]))
    assert joined["y"][1] == ["a", "b"]


def test_named_tuples_are_joined_item_by_item_and_lists_hold_samples():
    joined = join_trees([Pair(ONES, [ONES]), Pair(ONES, [ONES, ONES])])
    assert type(joined) is Pair
    assert joined.x.shape == (6, 2)
    assert [one.shape for one in joined.y] == [(3, 2)] * 3
    assert join_trees([["a", "b"], ["c"]]) == ["a", "b", "c"]


def test_arrays_are_joined():
    numpy = pytest.importorskip("numpy")
    assert join_trees([numpy.ones((3, 2)), numpy.ones((1, 2))]).shape == (4, 2)
    assert join_trees([numpy.array(1.0), numpy.array(2.0)]).tolist() == [1.0, 2.0]


def test_an_exception_is_no_batch():
    assert count_samples("text") == count_samples(None) == 1
    with pytest.raises(DataError, match=r"A batch is the exception ValueError\('bad'\).*Raise it there"):
        count_samples(ValueError("bad"))
