"""The module and the data of a configuration."""

from argparse import Namespace
from pathlib import Path

import pytest
import torch

from framework import ConfigError
from framework.cli.parts import choose_split, configured, make_parts


def parts(*overrides):
    arguments = Namespace(project=".", trust=[])
    return make_parts(configured([Path("config.yaml")], overrides, arguments))


def test_the_seed_comes_before_the_module_and_before_the_data(project):
    module, data = parts()
    torch.rand(3)  # what was drawn before does not matter
    same, wide = parts(), parts("--model.hidden=64")
    assert torch.equal(same[0].net[0].weight, module.net[0].weight)
    assert same[1]["test"].dataset.indices == data["test"].dataset.indices == wide[1]["test"].dataset.indices


def test_without_a_seed_it_is_0(project):
    assert torch.equal(parts("--fit.seed=null")[0].net[0].weight, parts("--fit.seed=0")[0].net[0].weight)
    assert not torch.equal(parts("--fit.seed=1")[0].net[0].weight, parts("--fit.seed=0")[0].net[0].weight)


def test_the_first_split_that_is_there_is_taken():
    assert choose_split({"val": [1], "train": [2]}, None, ("test", "val")) == ("val", [1])
    assert choose_split({"val": [1], "test": [2]}, None, ("test", "val")) == ("test", [2])
    assert choose_split({"val": [1], "test": [2]}, "val", ("test", "val")) == ("val", [1])


@pytest.mark.parametrize(("split", "message"), [(None, "no test and no val; they have train"), ("val", "no val; they have train")])
def test_a_split_that_is_not_there_is_refused(split, message):
    with pytest.raises(ConfigError, match=f"The data have {message}. Name one of these by --split"):
        choose_split({"train": [1]}, split, ("test", "val"))
