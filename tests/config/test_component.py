"""Classes with arguments: what is checked of them, on which line."""

import pytest

TEXT = """
model:
  class_path: module.Many
  init_args:
    needed: 3
    {}
data: data.load
fit: {{max_epochs: 1}}
"""


def test_what_is_inside_is_made_with_the_module(read):
    text = TEXT.format("layers: [{class_path: torch.nn.ReLU}, {class_path: module.Keeps, init_args: {anything: '3', options: {}}}]")
    configuration = read(text)
    first, second = configuration.make_module().given["layers"]
    assert type(first).__name__ == "ReLU"
    assert second.given == ("3", {})
    assert configuration.make_module().given["layers"][0] is not first


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("lr: fast", "model.init_args.lr should be a number, got 'fast'."),
        ("neded: 3", "model.init_args.neded is unknown. Did you mean needed?"),
        ("zzz: 3", "model.init_args.zzz is unknown. module.Many takes needed, anything, untyped, flag, either, "),
        ("flag: no", "model.init_args.flag should be true or false, got 'no'."),
        (
            "layer: {class_path: torch.nn.Linear}",
            "torch.nn.Linear needs in_features, out_features. Give model.init_args.layer.init_args.",
        ),
        (
            "layer: {class_path: torch.nn.ReLU, init_args: {inplce: true}}",
            "model.init_args.layer.init_args.inplce is unknown. Did you mean inplace?",
        ),
        (
            "layer: {class_path: torch.nn.ReLU, init_args: {inplace: 3}}",
            "model.init_args.layer.init_args.inplace should be true or false, got 3.",
        ),
        (
            "layer: {class_path: torch.nn.Relu}",
            "model.init_args.layer.class_path names torch.nn.Relu, but torch.nn has no Relu. Did you mean ReLU?",
        ),
        ("layer: {class_path: torch.optim.SGD}", "model.init_args.layer should be a Module or null, got torch.optim.SGD."),
        ("layer: {class_path: EMA}", "model.init_args.layer should be a Module or null, got framework.EMA."),
        (
            "layers: [{class_path: torch.nn.Linear}]",
            "torch.nn.Linear needs in_features, out_features. Give model.init_args.layers[0].init_args.",
        ),
        (
            "anything: {class_path: torch.nn.ReLU}",
            "model.init_args.anything names torch.nn.ReLU, but anything has no type that says so. Annotate it, such",
        ),
        (
            "untyped: [{class_path: torch.nn.ReLU}]",
            "model.init_args.untyped names torch.nn.ReLU, but untyped has no type that says so.",
        ),
        ("shape: {widht: 3}", "model.init_args.shape.widht is unknown. Did you mean width?"),
        ("shape: {width: a}", "model.init_args.shape.width should be a whole number, got 'a'."),
        ("shape: {depth: 3}", "Shape needs width, which is missing. Give model.init_args.shape.width."),
        (
            "call: os.system",
            "model.init_args.call names os.system, of Python's standard library, which a configuration may not call.",
        ),
        ("call: module.os", "model.init_args.call should be the name of a function or null, got 'module.os'."),
        ("layer_type: torch.load", "model.init_args.layer_type names torch.load, which a configuration may not call"),
        (
            "layer_type: torch.optim.SGD",
            "model.init_args.layer_type should be the name of a Module class, got 'torch.optim.SGD'.",
        ),
    ],
)
def test_mistakes(mistakes, argument, expected):
    (line,) = mistakes(TEXT.format(argument))
    assert line.startswith(f"a.yaml, line 6: {expected}")


@pytest.mark.parametrize(
    ("argument", "name", "value"),
    [
        ("call: module.double", "call", "double"),
        ("layer_type: torch.nn.Tanh", "layer_type", "Tanh"),
        ("optimizer: {class_path: torch.optim.Adam, init_args: {lr: 1e-2}}", "optimizer", "functools.partial"),
        ("shape: {width: 3}", "shape", "Shape(width=3, depth=2)"),
        ("anything: {path: os.system, of: [torch.load]}", "anything", "{'path': 'os.system', 'of': ['torch.load']}"),
        ("name: os.system", "name", "os.system"),
    ],
)
def test_arguments_that_fit(read, argument, name, value):
    given = read(TEXT.format(argument)).make_module().given[name]
    assert value in (repr(given) if not isinstance(given, str | type) else str(given))


def test_what_is_missing(mistakes):
    text = "model: module.Many\ndata: data.load\nfit: {max_epochs: 1}"
    assert mistakes(text) == ["a.yaml, line 1: module.Many needs needed, which is missing. Give model.init_args.needed."]
    assert mistakes("model: module.Many\ndata: {class_path: data.by_name, init_args: {x: 1}}\nfit: {max_epochs: 1}") == [
        "a.yaml, line 1: module.Many needs needed, which is missing. Give model.init_args.needed.",
        "a.yaml, line 2: data.init_args.x is unknown. data.by_name takes no arguments.",
    ]


def test_a_text_of_the_command_line_is_what_the_parameter_wants(read, mistakes):
    text = TEXT.format("")
    configuration = read(text, overrides=["--model.name=64", "--model.either=64", "--model.anything=null", "--model.untyped=no"])
    given = configuration.make_module().given
    assert (given["either"], given["anything"], given["untyped"], configuration.make_module().name) == (64, None, "no", "64")
    assert mistakes(text, overrides=["--model.needed=x", "--model.flag=1"]) == [
        "--model.needed: model.init_args.needed should be a whole number, got 'x'.",
        "--model.flag: model.init_args.flag should be true or false, got 1.",
    ]


def test_errors_of_the_users_constructor_come_as_they_are_with_a_note(read):
    configuration = read("model: module.Breaks\ndata: data.load\nfit: {max_epochs: 1}")
    with pytest.raises(AttributeError, match=r"^the user's own mistake") as caught:
        configuration.make_module()
    assert caught.value.__notes__[0].endswith("a.yaml, line 1 asks for module.Breaks.")
    configuration = read(TEXT.format("layer: {class_path: module.BreakingLayer}"))
    with pytest.raises(AttributeError, match=r"^a layer's own mistake") as caught:
        configuration.make_module()
    assert caught.value.__notes__[0].endswith("a.yaml, line 2 asks for module.Many.")


def test_a_framework_class_led_to_by_another_name_is_not_public(mistakes, project):
    (project / "helpers.py").write_text("from framework.config.trust import home_of\nfrom os import system")
    for name, home in (("home_of", "framework.config.trust.home_of"), ("system", "posix.system")):
        (line,) = mistakes(f"model: module.Line\ndata: helpers.{name}\nfit: {{max_epochs: 1}}")
        assert f"data names helpers.{name}, which is {home}, and that may not be used here." in line
    (line,) = mistakes(TEXT.format("call: helpers.system"))
    assert "model.init_args.call names posix.system, of Python's standard library" in line


DEFAULTS = """
import enum
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from module import Line


class Act(str, enum.Enum):
    RELU = "relu"
    GELU = "gelu"


@dataclass
class Rates:
    lr: float


class Encoder(nn.Module):
    def __init__(self, act: nn.Module = nn.ReLU(), width: int = 2):
        super().__init__()
        self.act, self.width = act, width


class Usual(Line):
    def __init__(
        self,
        encoder: nn.Module | None = None,
        make: Callable[[], nn.Module] = lambda: nn.LeakyReLU(negative_slope=0.3),
        act: Act = Act.RELU,
        rates: Rates = Rates(0.5),
        sizes: Sequence[int] = (4, 4),
    ):
        super().__init__()
        self.given = encoder, make, act, rates, sizes


class Wide(Line):
    def __init__(self, **kwargs):
        kwargs.setdefault("width", 16)
        super().__init__(**kwargs)
"""


@pytest.fixture
def usual(read, project):
    """Makes `Usual` with some arguments, and again from the whole text of that configuration."""
    (project / "usual.py").write_text(DEFAULTS)

    def making(arguments):
        configuration = read(f"model: {{class_path: usual.Usual, init_args: {arguments}}}\ndata: data.load\nfit: {{max_epochs: 1}}")
        return configuration.make_module().given, read(configuration.text()).make_module().given

    return making


def test_defaults_that_are_objects_stay_these_objects(usual):
    for encoder, make, act, rates, sizes in usual("{}"):
        assert (encoder, repr(make()), rates.lr, sizes) == (None, "LeakyReLU(negative_slope=0.3)", 0.5, (4, 4))
        assert repr(act) == "<Act.RELU: 'relu'>"


def test_a_class_with_a_default_that_is_an_object_can_be_named(usual):
    for encoder, *_ in usual("{encoder: {class_path: usual.Encoder, init_args: {width: 3}}, make: usual.Encoder}"):
        assert (repr(encoder.act), encoder.width) == ("ReLU()", 3)


def test_a_member_of_an_enum_that_is_text_stays_a_member(usual):
    for _, _, act, _, _ in usual("{act: GELU}"):
        assert repr(act) == "<Act.GELU: 'gelu'>"


def test_a_default_behind_kwargs_is_not_written(read, project):
    (project / "usual.py").write_text(DEFAULTS)
    configuration = read("model: usual.Wide\ndata: data.load\nfit: {max_epochs: 1}")
    assert "width" not in configuration.text()
    assert read(configuration.text()).make_module().net[0].out_features == configuration.make_module().net[0].out_features == 16


def test_a_class_with_arguments_for_a_callable_is_refused_with_what_to_annotate(mistakes, project):
    (project / "usual.py").write_text(DEFAULTS.replace("Callable[[], nn.Module] =", "Callable[..., nn.Module] ="))
    arguments = "make: {class_path: torch.nn.LeakyReLU, init_args: {negative_slope: 0.2}}"
    (line,) = mistakes(f"model: {{class_path: usual.Usual, init_args: {{{arguments}}}}}\ndata: data.load\nfit: {{max_epochs: 1}}")
    assert line.endswith(
        "should be the name of a function, or of a Module class, got torch.nn.LeakyReLU. Annotate make as nn.Module, or as what it "
        "should be, for a class with arguments."
    )
