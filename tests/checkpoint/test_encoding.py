import json
import math
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from states import DTYPES, STATES, canonical, filled
from torch import nn

from framework import CheckpointError
from framework.checkpoint.encoding import decode, encode

pytestmark = pytest.mark.filterwarnings(
    "ignore:ComplexHalf support", "ignore:Generating overly large repr"
)  # torch's and Hypothesis's


def through_json(state, where="run"):
    skeleton, tensors = encode(state, where)
    return decode(json.loads(json.dumps(skeleton, allow_nan=False)), tensors)


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(STATES)
def test_a_state_comes_back_as_it_was(state):
    assert canonical(through_json(state)) == canonical(state)


@pytest.mark.parametrize(
    "state",
    [
        -0.0,
        math.nan,
        -math.inf,
        2**1024 - 1,
        -(2**5000),
        True,
        {1: "int", "1": "str", (1, (None, True)): "tuple", None: "none", 2.5: "float", math.inf: "inf"},
        {"$tuple": [1]},
        {"__metadata__": torch.ones(1), "a": torch.zeros(1)},
        {"a": {"b": torch.ones(1)}, "a/b": torch.zeros(1)},
        {"": torch.ones(2)},
        {"\ud800": torch.ones(1), "?": torch.zeros(1)},
        torch.ones(()),
        [torch.ones(3, 0), torch.ones(0)],
        Counter({("a", 1): 2, None: -1}),
        {frozenset({1, (2, "x")}), b"\x00\xff", 1.5},
        OrderedDict(b=1, a=2),
        torch.bfloat16,
        torch.Size([2, 3]),
        "\ud83d\ude00 as two halves",
    ],
    ids=repr,
)
def test_odd_states_come_back(state):
    assert canonical(through_json(state)) == canonical(state)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (5,), (2, 3, 4)], ids=str)
def test_each_type_of_tensor_comes_back(dtype, shape):
    tensor = filled(dtype, shape)
    assert canonical(through_json({"x": tensor})["x"]) == canonical(tensor)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.arange(6.0).reshape(2, 3).T,
        torch.arange(10.0)[::3],
        torch.ones(1).expand(4, 2),
        torch.randn(1, 3, 2, 2).to(memory_format=torch.channels_last),
        torch.randn(3, dtype=torch.complex64).conj(),
        torch.randn(3, dtype=torch.complex64).conj().imag,
        torch.randn(2, 2, dtype=torch.complex128).T.conj(),
        torch.ones(2, requires_grad=True) * 2,
    ],
)
def test_any_strides_and_lazy_signs(tensor):
    assert canonical(through_json([tensor])[0]) == canonical(tensor)


def test_a_parameter_is_stored_as_a_tensor():
    back = through_json({"weight": nn.Parameter(torch.ones(2))})["weight"]
    assert type(back) is torch.Tensor
    assert not back.requires_grad


def test_nothing_is_copied():
    weight = torch.ones(4)
    _, tensors = encode({"weight": weight}, "model")
    weight += 1
    assert tensors["weight"].tolist() == [2, 2, 2, 2]


def test_tensors_of_a_flat_dict_keep_their_keys():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    assert list(encode(model.state_dict(), "model")[1]) == list(model.state_dict())


def test_tensors_further_inside_are_named_by_their_path():
    _, tensors = encode({"state": {0: {"exp_avg": torch.ones(1)}}, "list": [torch.ones(1)], ("a", 1): torch.ones(1)}, "optimizer")
    assert list(tensors) == ["state/0/exp_avg", "list/0", "('a', 1)"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64, torch.float8_e8m0fnu])
def test_tied_tensors_are_one_object_and_stay_one(dtype):
    weight = filled(dtype, (2, 4))
    state = {
        "a": weight,
        "b": weight.detach(),
        "c": weight[:1],
        "d": weight.clone(),
        "e": [nn.Parameter(weight, requires_grad=False)],
    }
    skeleton, tensors = encode(state, "model")
    assert len({id(tensor) for tensor in tensors.values()}) == 3
    back = decode(skeleton, tensors)
    assert back["a"] is back["b"] is back["e"][0]
    assert len({id(back[key]) for key in "acd"}) == 3
    assert canonical(back) == canonical(state)


def test_empty_tensors_are_tied_only_where_they_are_one():
    one, other = torch.empty(0), torch.empty(0)
    _, tensors = encode([one, one, other], "x")
    assert tensors["0"] is tensors["1"]
    assert tensors["0"] is not tensors["2"]


def test_the_same_state_gives_the_same_json_whatever_the_order_of_a_set():
    assert encode({"c", "a", "b"}, "x") == ({"$set": ["a", "b", "c"]}, {})


Point = namedtuple("Point", "x")


class Text(str):
    __slots__ = ()


@pytest.mark.fault(34)
@pytest.mark.parametrize(
    "value",
    [
        np.float64(1),
        np.int64(1),
        np.ones(2),
        Point(1),
        Text("a"),
        defaultdict(list),
        deque(),
        range(2),
        1j,
        object(),
        len,
        nn.ReLU,
        nn.ReLU(),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("place", [lambda value: value, lambda value: [1, {"a": (value,)}]], ids=["top", "inside"])
def test_other_types_are_refused(value, place):
    with pytest.raises(CheckpointError, match=r"which a checkpoint cannot hold\. Store "):
        encode(place(value), "run")


@pytest.mark.fault(34)
def test_a_refusal_names_the_way_to_the_value():
    for state, where in [
        ({"hparams": {"data": {"root": object()}}}, r"run\.hparams\.data\.root is an object"),
        ({"a b": [0, (1, object())]}, r"run\['a b'\]\[1\]\[1\] is an object"),
        ({0: {None: object()}}, r"run\[0\]\[None\] is an object"),
        ({"x": {object(): 1}}, r"a key of run\.x is an object"),
        ({"x": {(1, object()): 1}}, r"a key of run\.x\[1\] is an object"),
        ({"x": [{object()}]}, r"an item of run\.x\[0\] is an object"),
        ({"x": Counter([object()])}, r"a key of run\.x is an object"),
        (object(), "^run is an object"),
    ]:
        with pytest.raises(CheckpointError, match=where):
            encode(state, "run")


@pytest.mark.parametrize("key", [torch.ones(1), (1, (torch.ones(1),))], ids=["tensor", "inside a tuple"])
def test_a_tensor_is_no_key(key):
    with pytest.raises(CheckpointError, match=r"a key of run\.x is or holds a tensor, .* Use texts, numbers or tuples."):
        encode({"x": {key: 1}}, "run")
    with pytest.raises(CheckpointError, match="an item of run is or holds a tensor"):
        encode({key}, "run")


def test_a_tensor_of_a_type_that_nothing_reads_is_refused():
    with pytest.raises(
        CheckpointError, match=r"run.x is a tensor of torch.bits8, which a checkpoint cannot hold. Store it as torch.uint8."
    ):
        encode({"x": torch.zeros(2, dtype=torch.uint8).view(torch.bits8)}, "run")


def test_a_state_that_contains_itself_is_refused():
    inner = {}
    inner["again"] = [inner]
    with pytest.raises(
        CheckpointError, match=r"run.x.again\[0\] is the dict that it lies in. Store no structure that contains itself."
    ):
        encode({"x": inner}, "run")


def test_the_same_object_in_two_places_is_no_cycle():
    inner = [1]
    assert through_json([inner, inner, ((), ())]) == [[1], [1], ((), ())]


def nested(depth):
    state = 0
    for _ in range(depth):
        state = [state]
    return state


def test_how_deep_a_state_may_be():
    assert through_json(nested(100)) == nested(100)
    with pytest.raises(CheckpointError, match=r"lies more than 100 containers deep. Store a flatter structure."):
        encode(nested(101), "run")


@pytest.mark.fault(32)
@pytest.mark.parametrize(
    ("skeleton", "message"),
    [
        ({"$object": "os.system"}, r"'\$object' in an object with 1 keys. Allowed, alone in an object: \$tensor, \$tuple"),
        ({"$tuple": [], "more": 1}, r"'\$tuple' in an object with 2 keys"),
        ([{"$tensor": "missing"}], "KeyError: 'missing'"),
        ({"$tensor": ["x", "os.system"]}, "KeyError: 'os.system'"),
        ({"$tensor": ["x", "complex64"]}, "no state that the framework wrote: RuntimeError"),
        ({"$tensor": ["x", "int64"]}, "no state that the framework wrote: RuntimeError"),
        ({"$tensor": ["x"]}, "ValueError"),
        ({"$tensor": 3}, "TypeError"),
        ({"$tuple": "abc"}, "TypeError: a list should be here, not str"),
        ({"$dict": [[1]]}, "ValueError"),
        ({"$dict": [[[], 1]]}, "TypeError: unhashable"),
        ({"$counter": {"a": 1}}, "TypeError: a list should be here, not dict"),
        ({"$set": [[1]]}, "TypeError: unhashable"),
        ({"$frozenset": 1}, "TypeError"),
        ({"$size": ["a"]}, "TypeError"),
        ({"$dtype": "Tensor"}, "KeyError: 'Tensor'"),
        ({"$dtype": ["float32"]}, "TypeError"),
        ({"$bytes": "?"}, "Error"),
        ({"$str": "gA=="}, "UnicodeDecodeError"),
        ({"$float": "1"}, "KeyError"),
        ({"$int": "zz"}, "ValueError"),
        ({"$int": 3}, "TypeError"),
        (nested(100_000), "RecursionError"),
    ],
    ids=lambda value: str(value)[:40] if type(value) is dict else "",
)
def test_what_no_state_becomes_is_refused(skeleton, message):
    with pytest.raises(CheckpointError, match=message):
        decode(skeleton, {"x": torch.ones(3)})


@pytest.mark.fault(32)
def test_a_name_of_code_stays_a_text():
    state = {"_instantiator": "os.system", "_target_": "os.system", "__reduce__": ["os.system", ["x"]], "class_path": "os.system"}
    assert through_json(state) == state
