"""Trees of values: merging, places, and the mistakes told of them."""

import pytest

from framework import ConfigError
from framework.config.places import Mistakes, Place, Tree, dotted, nearest, shown


def tree(values, **lines):
    places = {(): Place("a.yaml", 1)}
    return Tree(values, places | {tuple(key.split("_")): Place("a.yaml", line) for key, line in lines.items()})


def test_later_values_win_key_by_key_and_lists_are_replaced():
    first = Tree({"fit": {"seed": 1, "handlers": [1, 2], "keep": 2}}, {("fit", "handlers", 0): Place("a.yaml", 3)})
    first.merge(Tree({"fit": {"seed": 2, "handlers": [3]}, "data": None}, {("fit", "handlers"): Place("b.yaml", 9)}))
    assert first.values == {"fit": {"seed": 2, "handlers": [3], "keep": 2}, "data": None}
    assert first.place(("fit", "handlers", 0)) == Place("b.yaml", 9)  # not that of the list before


def test_a_mapping_and_a_plain_value_replace_each_other():
    held = tree({"model": "module.Net"}, model=1)
    held.merge(tree({"model": {"class_path": "module.Other"}}, model_class=2))
    assert held.values == {"model": {"class_path": "module.Other"}}
    held.merge(tree({"model": "module.Net"}))
    assert held.values == {"model": "module.Net"}


def test_arguments_are_given_to_a_class_that_an_earlier_file_names_alone():
    held = tree({"model": "module.Net", "fit": {"monitor": "val/loss"}}, model=2)
    later = {"model": {"init_args": {"hidden": 3}}, "fit": {"monitor": {"hidden": 3}}}
    held.merge(Tree(later, {("model",): Place("b.yaml", 1), ("model", "init_args"): Place("b.yaml", 2)}))
    assert held.values == {"model": {"class_path": "module.Net", "init_args": {"hidden": 3}}, "fit": {"monitor": {"hidden": 3}}}
    assert str(held.place(("model", "class_path"))) == "a.yaml, line 2"
    assert str(held.place(("model", "init_args", "hidden"))) == "b.yaml, line 2"


def test_a_place_is_that_of_the_nearest_value_around():
    held = tree({"fit": {"seed": 1}}, fit=4, fit_seed=5)
    assert [str(held.place(path)) for path in [("fit", "seed", 3), ("fit", "nan"), ("data",)]] == [
        "a.yaml, line 5",
        "a.yaml, line 4",
        "a.yaml, line 1",
    ]
    assert str(Tree().place(("fit",))) == "the configuration"


def test_values_by_path():
    held = tree({"fit": {"handlers": ["EMA"]}})
    assert held.at(("fit", "handlers", 0)) == "EMA"
    assert held.at(("fit", "handlers", 1)) is held.at(("fit", "seed")) is held.at(("fit", 0)) is held.at(("model", "x")) is None


def test_mistakes_are_told_together_and_once():
    found = Mistakes(tree({}, fit_seed=5))
    found.raise_any()
    found.add(("fit", "seed"), "is odd.")
    found.add(("fit", "seed"), "is odd.")
    found.say((), "all of it.")
    with pytest.raises(ConfigError, match=r"^a\.yaml, line 1: all of it\.\na\.yaml, line 5: fit\.seed is odd\.$"):
        found.raise_any()


def test_words():
    assert dotted(("fit", "handlers", 0, "init_args")) == "fit.handlers[0].init_args"
    assert dotted(()) == "the configuration"
    assert nearest("emma", ["EMA", "XLA"]) == " Did you mean EMA?"
    assert [nearest("q", ["a"]), nearest("q", ["a", "b"]), nearest("q", [])] == [
        " There is a.",
        " There are a, b.",
        " There is none.",
    ]
    assert shown("x") == "'x'"
    assert shown("x" * 200).endswith("xxx...")
