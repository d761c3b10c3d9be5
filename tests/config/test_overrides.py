"""Settings on the command line."""

import pytest

from framework import ConfigError
from framework.config.overrides import apply_overrides
from framework.config.places import Place, Tree


def changed(values, *overrides):
    tree = Tree(values)
    apply_overrides(tree, overrides)
    return tree.values


def test_both_ways_to_write_one():
    assert changed({}, "--fit.max_epochs", "3", "--fit.lr=1e-2", "--fit.clip_norm", "-1", "--fit.run_dir=a=b") == {
        "fit": {"max_epochs": 3, "lr": 0.01, "clip_norm": -1, "run_dir": "a=b"}
    }


def test_values_are_yaml_and_the_last_one_wins():
    assert changed({"fit": {"handlers": [1]}}, "--fit.handlers=[EMA]", "--fit.handlers", "[]", "--fit.seed=") == {
        "fit": {"handlers": [], "seed": None}
    }


@pytest.mark.parametrize("text", ["Issue #3: a # b", "*.csv", "@home", "%d", "!x", "&a", "`", "a: b", "- x", " x ", "|", "?"])
def test_what_means_something_in_yaml_alone_is_text(text):
    assert changed({}, "--data.a", text) == {"data": {"init_args": {"a": text}}}


def test_arguments_of_a_class_need_no_init_args():
    nested = {"model": {"class_path": "module.Net", "init_args": {"encoder": {"class_path": "module.E"}, "sizes": {"a": 1}}}}
    assert changed(
        nested, "--model.encoder.width=3", "--model.sizes.b=2", "--model.init_args.lr=1", "--model.class_path=module.Other"
    ) == {
        "model": {
            "class_path": "module.Other",
            "init_args": {"encoder": {"class_path": "module.E", "init_args": {"width": 3}}, "sizes": {"a": 1, "b": 2}, "lr": 1},
        }
    }


def test_a_class_by_its_name_alone_gets_arguments():
    assert changed({"data": "data.load"}, "--data.size=3") == {"data": {"class_path": "data.load", "init_args": {"size": 3}}}
    assert changed({"data": "data.load"}, "--data=data.other") == {"data": "data.other"}


def test_the_place_is_the_argument_with_its_text():
    tree = Tree({"fit": {"seed": 1}}, {("fit", "seed"): Place("a.yaml", 3)})
    apply_overrides(tree, ["--fit.seed=07", "--model.shape.width", "3"])
    assert tree.place(("fit", "seed")) == Place("--fit.seed", None, "07")
    assert tree.place(("model", "init_args", "shape")).text is None  # "3" is not the text of the mapping


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["--fit.seed"],
            "--fit.seed: the value is missing. Write --fit.seed VALUE, or --fit.seed=VALUE; a flag takes true or false.",
        ),
        (["--fit.debug", "--fit.seed=1"], "--fit.debug: the value is missing."),
        (["3"], "3: a value without a name. What changes a setting is written --fit.max_epochs 3."),
        (["--fot.seed=1"], "--fot.seed is unknown. Settings begin with --model., --data. or --fit., such as --fit.max_epochs 3."),
        (["--fit..seed=1"], "--fit..seed is unknown."),
        (["--fit.seed=[1"], "--fit.seed: this is no YAML"),
        (
            ["--data.pattern=[0-9]+"],
            "--data.pattern: this is no YAML: expected '<document start>', but found '<scalar>'. A text that begins like this is "
            "put in quotes of its own: --data.pattern '\"TEXT\"'.",
        ),
        (["--fit.handlers.0=EMA"], "--fit.handlers.0: fit.handlers is a list, which is given whole, such as --fit.handlers VALUE."),
        (["--fit.seed.x=1"], "--fit.seed.x: fit.seed is 3, which has no parts, such as --fit.seed VALUE."),
    ],
)
def test_mistakes(overrides, message):
    with pytest.raises(ConfigError) as caught:
        changed({"fit": {"seed": 3, "handlers": []}}, *overrides)
    assert str(caught.value).startswith(message)


def test_mistakes_are_told_together():
    with pytest.raises(ConfigError) as caught:
        changed({}, "--fot.x=1", "--fit.y", "--fit.z")
    assert len(str(caught.value).splitlines()) == 3
