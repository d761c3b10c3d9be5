"""The module and the data of a configuration."""

from pathlib import Path

import pytest
import torch

from framework import ConfigError
from framework.cli.parts import choose_split, make_parts
from framework.config.configuration import read_configuration


def test_the_seed_comes_first_then_the_module_then_the_data(project):
    made = []
    for _ in range(2):
        torch.rand(3)  # what was drawn before does not matter
        module, data = make_parts(read_configuration([Path("config.yaml")], project=project))
        made.append((module.net[0].weight, data["test"].dataset.indices))
    assert torch.equal(made[0][0], made[1][0])
    assert made[0][1] == made[1][1]


def test_without_a_seed_nothing_is_seeded(project):
    state = torch.get_rng_state()
    configuration = read_configuration([Path("config.yaml")], ["--fit.seed=null"], project=project)
    one, other = make_parts(configuration)[0], make_parts(configuration)[0]
    assert not torch.equal(one.net[0].weight, other.net[0].weight)
    torch.set_rng_state(state)
    assert torch.equal(make_parts(configuration)[0].net[0].weight, one.net[0].weight)


def test_the_first_split_that_is_there_is_taken():
    assert choose_split({"val": [1], "train": [2]}, None, ("test", "val")) == ("val", [1])
    assert choose_split({"val": [1], "test": [2]}, None, ("test", "val")) == ("test", [2])
    assert choose_split({"val": [1], "test": [2]}, "val", ("test", "val")) == ("val", [1])


@pytest.mark.parametrize(("split", "message"), [(None, "no test and no val; they have train"), ("val", "no val; they have train")])
def test_a_split_that_is_not_there_is_refused(split, message):
    with pytest.raises(ConfigError, match=f"The data have {message}. Name one of these by --split"):
        choose_split({"train": [1]}, split, ("test", "val"))
