"""Which values the parameters of a signature take."""

import inspect
import os
from collections import OrderedDict
from pathlib import Path
from typing import Any

import jsonargparse
import pytest
import torch
from jsonargparse._common import parsing_settings
from torch import nn

from framework import WandbLogger
from framework.config.signature import Signature, Unfit, only, specs_in

ALLOWED = [
    "module",
    "torch.nn.ReLU",
    "torch.nn.modules.activation.ReLU",
    "torch.nn.Linear",
    "torch.nn.modules.linear.Linear",
    "torch.optim.SGD",
    "torch.optim.sgd.SGD",
]
RELU = {"class_path": "torch.nn.ReLU"}
LINEAR = {"class_path": "torch.nn.Linear", "init_args": {"in_features": 2, "out_features": 3}}


@pytest.fixture
def module(project, monkeypatch):
    monkeypatch.syspath_prepend(project)
    import module

    return module


@pytest.fixture
def signature(module):
    return Signature(module.Many, ALLOWED)


def test_names_also_of_what_is_handed_on(signature):
    assert signature.required == ["needed"]
    assert {"anything", "kind", "shape", "width", "lr", "name", "layer"} <= set(signature.names)
    assert not signature.open


def test_defaults_are_those_that_can_be_written(signature):
    defaults = {name: signature.default(name) for name in signature.names}
    missing = {name for name, value in defaults.items() if value is inspect.Parameter.empty}
    assert missing == {"needed", "layer_type", "dtype", "width", "lr", "name", "layer"}  # the last ones are behind **kwargs
    assert [defaults[name] for name in ("flag", "kind", "size", "counts", "pair", "shape")] == [
        False,
        "plain",
        "SMALL",
        [],
        [1, 2.0],
        None,
    ]


@pytest.mark.parametrize(
    ("name", "value", "fitted"),
    [
        ("needed", 3, 3),
        ("anything", "1e-2", "1e-2"),
        ("anything", ["no", {"a": "null", "b": 3}], ["no", {"a": "null", "b": 3}]),
        ("untyped", "3", "3"),
        ("untyped", 4, 4),
        ("either", "3", "3"),
        ("either", 3, 3),
        ("name", "null", "null"),
        ("name", "no", "no"),
        ("lr", 1, 1.0),
        ("maybe", None, None),
        ("kind", "fancy", "fancy"),
        ("counts", [1, 2], [1, 2]),
        ("pair", [3, 1], (3, 1.0)),
        ("by_name", {"a": 1}, {"a": 1.0}),
        ("device", "cuda:1", torch.device("cuda:1")),
        ("dtype", "bfloat16", torch.bfloat16),
        ("dtype", "torch.float16", torch.float16),
        ("layer_type", "torch.nn.ReLU", nn.ReLU),
    ],
)
def test_fits(signature, name, value, fitted):
    given = repr(value)
    found = signature.fitted(name, value)
    assert found == fitted
    assert type(found) is type(fitted)
    assert repr(value) == given  # left as it was


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("needed", "3", "should be a whole number, got '3'."),
        ("needed", None, "should be a whole number, got None."),
        ("needed", True, "should be a whole number, got True."),
        ("needed", 3.0, "should be a whole number, got 3.0."),
        ("flag", "no", "should be true or false, got 'no'."),
        ("flag", 1, "should be true or false, got 1."),
        ("name", 3, "should be text, got 3."),
        ("lr", "1e-2", "should be a number, got '1e-2'."),
        ("maybe", "null", "should be a number or null, got 'null'."),
        ("kind", "fancyy", "should be one of 'plain', 'fancy', got 'fancyy'. Did you mean fancy?"),
        ("size", "LARG", "should be one of SMALL, LARGE, got 'LARG'. Did you mean LARGE?"),
        ("counts", ["1"], "should be a list of whole numbers, got ['1']."),
        ("counts", 1, "should be a list of whole numbers, got 1."),
        ("pair", [1], "should be a list of 2: a whole number, a number, got [1]."),
        ("by_name", {"a": "1"}, "should be a mapping to numbers or null, got {'a': '1'}."),
        ("device", "cpuu", "should be a device or null, got 'cpuu'."),
        ("dtype", "nn", "should be a dtype, got 'nn'."),
        ("dtype", "load", "should be a dtype, got 'load'."),
        ("layer", {"class_path": "torch.optim.SGD", "init_args": {"lr": 1.0}}, "should be a Module or null, got torch.optim.SGD."),
        ("layers", [RELU, 3], "should be a list of Modules or null, got torch.nn.ReLU."),
    ],
)
def test_does_not_fit(signature, name, value, message):
    with pytest.raises(Unfit) as caught:
        signature.fitted(name, value)
    assert str(caught.value) == message


def test_what_would_be_imported_and_what_is_lacking_is_told(signature):
    with pytest.raises(Unfit, match="should be") as caught:
        signature.fitted("call", "os.system")
    assert caught.value.denied == "os.system"
    with pytest.raises(Unfit, match="should be") as caught:
        signature.fitted("layer", {"class_path": "torch.nn.Linear"})
    assert caught.value.lacking == "in_features, out_features"


def test_a_class_in_a_parameter_that_takes_anything(signature):
    assert signature.takes_anything("anything", RELU)
    assert signature.takes_anything("untyped", [RELU])
    assert not signature.takes_anything("layer", RELU)
    assert not signature.takes_anything("optimizer", RELU)


def test_dataclasses(signature, module):
    assert signature.structure("shape") is module.Shape
    assert signature.structure("needed") is None


def test_the_call_makes_what_is_inside(signature, module):
    given = signature.call(
        {
            "needed": 1,
            "layer": LINEAR,
            "layers": [RELU],
            "optimizer": {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.5}},
            "shape": {"width": 3},
            "pair": [3, 4],
            "call": "module.double",
            "anything": {"a": ["3", "no"]},
            "either": "3",
            "by_name": {"a": 1},
            "width": 3,
        }
    ).given
    assert isinstance(given["layers"][0], nn.ReLU)
    assert given["optimizer"]([nn.Parameter(torch.ones(1))]).defaults["lr"] == 0.5
    assert given["shape"] == module.Shape(3, 2)
    assert (given["pair"], given["call"](2.0), given["anything"], given["either"]) == ((3, 4.0), 4.0, {"a": ["3", "no"]}, "3")


@pytest.mark.parametrize("optional", ["layer", "layers"])
def test_errors_of_what_is_made_come_as_they_are(signature, optional):
    breaking = {"class_path": "module.BreakingLayer"}
    with pytest.raises(AttributeError, match="a layer's own mistake") as caught:
        signature.call({"needed": 1, optional: breaking if optional == "layer" else [breaking]})
    assert caught.value.__context__ is None


def test_classes_without_a_name_are_those_of_the_type(module):
    def function(
        layer: module.Keeps, shape: module.Shape, other: module.Keeps | None = None, either: module.BreakingLayer | Any = None
    ):
        return layer.given, shape, other

    signature = Signature(function, ALLOWED)
    layer, shape, other = signature.call({"layer": {"anything": "3", "options": {"a": ["no", 1]}}, "shape": {"width": 3}})
    assert (layer, shape, other) == (("3", {"a": ["no", 1]}), module.Shape(3), None)
    assert signature.structure("shape") is module.Shape
    with pytest.raises(Unfit, match="should be a Shape, got 3"):
        signature.fitted("shape", 3)
    with pytest.raises(AttributeError, match="a layer's own mistake"):
        signature.call(
            {"layer": {"anything": 1, "options": {}}, "shape": {"width": 3}, "either": {"class_path": "module.BreakingLayer"}}
        )


def test_a_failure_that_is_not_of_a_constructor_is_raised_too(signature, monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("inner")

    monkeypatch.setattr(type(signature._parser), "instantiate", fail)
    with pytest.raises(RuntimeError, match="inner"):
        signature.call({"needed": 1})


def test_texts_stay_texts_in_what_is_made(signature):
    layer = {"class_path": "module.Keeps", "init_args": {"anything": "3", "options": {"a": "null"}}}
    assert signature.call({"needed": 1, "layer": layer}).given["layer"].given == ("3", {"a": "null"})


def test_functions_have_signatures_too(project, monkeypatch):
    monkeypatch.syspath_prepend(project)
    import data

    signature = Signature(data.load, [])
    assert (signature.names, signature.required) == (["batch_size", "parts"], [])
    assert len(signature.call({"parts": 3})) == 3
    open_one = Signature(data.options, [])
    assert open_one.open
    assert open_one.call({"a": 1})["train"] == [{"a": 1}]
    assert Signature(WandbLogger, []).open


def test_sets_and_paths():
    def function(numbers: set[int], path: Path, anything: dict[str, Any]): ...

    signature = Signature(function, [])
    assert signature.fitted("numbers", [1, 2]) == {1, 2}
    assert signature.fitted("path", "no") == Path("no")
    assert signature.fitted("anything", {"x": "1"}) == {"x": "1"}
    with pytest.raises(Unfit, match="should be a list of whole numbers"):
        signature.fitted("numbers", ["1"])


def test_a_text_that_names_a_file_is_no_configuration(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("list.yaml").write_text("[1, 2]")
    monkeypatch.setenv("HOME_OF", "x")

    def function(numbers: list[int], layer: nn.Module, text: str, mapping: dict[str, int]): ...

    signature = Signature(function, ALLOWED)
    for name in ("numbers", "layer", "mapping"):
        with pytest.raises(Unfit, match="should be"):
            signature.fitted(name, "list.yaml")
    assert signature.fitted("text", "${oc.env:HOME_OF} @list.yaml") == "${oc.env:HOME_OF} @list.yaml"


def test_the_environment_sets_nothing(monkeypatch):
    monkeypatch.setenv("JSONARGPARSE_DEFAULT_ENV", "true")
    monkeypatch.setenv("PYTEST_NUMBER", "7")
    monkeypatch.setenv("APP_NUMBER", "7")

    def function(number: int = 1, other: int = 2):
        return number

    assert Signature(function, []).call({"other": 3}) == 1


def test_the_settings_of_jsonargparse_are_put_back():
    before = dict(parsing_settings)
    with only(["module"]):
        assert parsing_settings != before
        with pytest.raises(ImportError, match="not allowed"):
            jsonargparse._common.check_import_path("torch.load")
    assert parsing_settings == before
    with pytest.raises(ZeroDivisionError), only([]):
        _ = 1 / 0
    assert parsing_settings == before


def test_classes_in_a_value():
    value = {"a": [RELU, {"b": LINEAR}], "c": 3}
    assert list(specs_in(value)) == [(("a", 0), RELU), (("a", 1, "b"), LINEAR)]
    assert list(specs_in(OrderedDict(a=os))) == []
