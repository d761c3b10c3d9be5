"""Which pieces of a tensor may be read, and which may not."""

import json
from itertools import product

import pytest
import torch
from hypothesis import given, settings, strategies as st
from safetensors.torch import save

from framework.checkpoint.shard_headers import Box, check_boxes, read_boxes


def boxes_of(tensor, *cuts):
    """Returns the boxes of a tensor that is cut at these places, dimension by dimension."""
    spans = [list(zip((0, *cut), (*cut, size), strict=True)) for cut, size in zip(cuts, tensor, strict=True)]
    return [Box(tuple(a for a, _ in piece), tuple(b - a for a, b in piece), "F32") for piece in product(*spans)]


def shard(tensors, offsets):
    """Returns the bytes of a shard file."""
    sharding = {key: {"saved_offsets": start} for key, start in offsets.items()}
    return save(tensors, {"DCP_SHARDING_INFO": json.dumps(sharding)})


def test_boxes_are_read_from_the_headers_of_all_files(tmp_path):
    (tmp_path / "1").write_bytes(shard({"m/w": torch.ones(2, 3), "m/s": torch.tensor(1)}, {"m/w": [0, 0], "m/s": []}))
    (tmp_path / "2").write_bytes(shard({"m/w": torch.ones(1, 3)}, {"m/w": [2, 0]}))
    boxes = read_boxes([tmp_path / "1", tmp_path / "2"])
    assert boxes == {"m/w": [Box((0, 0), (2, 3), "F32"), Box((2, 0), (1, 3), "F32")], "m/s": [Box((), (), "I64")]}
    assert check_boxes(boxes, {"m/w": (3, 3), "m/s": ()}) == {"m/w": torch.float32, "m/s": torch.int64}
    assert check_boxes(boxes, {}) == {}


@pytest.mark.fault(32)
@pytest.mark.parametrize("start", [None, 3, "00", [0, 0.0], [True, 0], [0, "0"], {"0": 0}], ids=repr)
def test_a_place_is_a_list_of_integers(tmp_path, start):
    (tmp_path / "1").write_bytes(shard({"w": torch.ones(2, 3)}, {"w": start}))
    with pytest.raises(TypeError, match=r"w in 1 lies at .*, and a place is a list of integers"):
        read_boxes([tmp_path / "1"])


@pytest.mark.fault(32)
@pytest.mark.parametrize(
    ("metadata", "error"),
    [(None, KeyError), ({"DCP_SHARDING_INFO": "{}"}, KeyError), ({"DCP_SHARDING_INFO": "["}, ValueError)],
)
def test_a_file_without_places_is_none(tmp_path, metadata, error):
    (tmp_path / "1").write_bytes(save({"w": torch.ones(2, 3)}, metadata))
    with pytest.raises(error):
        read_boxes([tmp_path / "1"])


@pytest.mark.parametrize(
    ("boxes", "shape"),
    [
        (boxes_of((4, 3), (1, 3), ()), (4, 3)),
        (boxes_of((4, 3), (1,), (1, 2)), (4, 3)),
        ([*boxes_of((2, 3), (1,), ()), Box((2, 0), (0, 3), "F32")], (2, 3)),
        ([Box((), (), "F32")], ()),
        ([Box((0, 0), (0, 3), "F32")], (0, 3)),
    ],
    ids=["rows", "a grid", "more ranks than rows", "a number", "nothing"],
)
def test_boxes_that_fill_a_tensor(boxes, shape):
    assert check_boxes({"w": boxes[::-1]}, {"w": shape}) == {"w": torch.float32}


WHOLE = boxes_of((4, 3), (2,), (1,))


@pytest.mark.fault(32)
@pytest.mark.parametrize(
    ("boxes", "shape"),
    [
        (WHOLE[1:], (4, 3)),
        (WHOLE, (5, 3)),
        (WHOLE, (3, 3)),
        (WHOLE, (4, 3, 1)),
        (WHOLE, (12,)),
        ([*WHOLE, WHOLE[2]], (4, 3)),
        ([*WHOLE[1:], Box((1, 0), (2, 1), "F32")], (4, 3)),
        ([*WHOLE[1:], WHOLE[3]], (4, 3)),
        ([Box((-1,), (4,), "F32")], (3,)),
        ([Box((0,), (2,), "F32"), Box((1,), (2,), "F32")], (4,)),
        ([Box((0, 0), (2, 2), "F32"), Box((1, 1), (2, 2), "F32")], (2, 4)),
        ([Box((), (), "F32")] * 2, ()),
        ([Box((0, 0), (0, 9), "F32")], (0, 3)),
        (WHOLE, (-4, -3)),
    ],
    ids=str,
)
def test_boxes_that_do_not(boxes, shape):
    with pytest.raises(ValueError, match=r"^the pieces of w do not make up a tensor of shape \("):
        check_boxes({"w": boxes}, {"w": shape})


def test_pieces_are_of_one_known_type():
    with pytest.raises(ValueError, match=r"^the pieces of w are of several types: F16, F32$"):
        check_boxes({"w": [Box((0,), (1,), "F32"), Box((1,), (1,), "F16")]}, {"w": (2,)})
    with pytest.raises(KeyError, match="Q4"):
        check_boxes({"w": [Box((0,), (1,), "Q4")]}, {"w": (1,)})
    with pytest.raises(KeyError, match="v"):
        check_boxes({}, {"v": (1,)})


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 3), st.integers(0, 2)), max_size=5),
    st.tuples(st.integers(0, 3), st.integers(0, 2)),
)
def test_it_is_as_if_each_number_was_counted(raw, shape):
    boxes = [Box((a, b), (c, d), "F32") for a, b, c, d in raw]
    count = torch.zeros(8, 8)
    for a, b, c, d in raw:
        count[a : a + c, b : b + d] += 1
    inside = all(a + c <= shape[0] and b + d <= shape[1] for a, b, c, d in raw)
    filled = inside and bool((count[: shape[0], : shape[1]] == 1).all())
    try:
        check_boxes({"w": boxes}, {"w": shape})
    except (ValueError, KeyError):
        assert not filled or not boxes
    else:
        assert filled
