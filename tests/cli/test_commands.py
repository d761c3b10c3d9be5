"""The declared commands."""

import shlex

import pytest

from framework.cli.arguments import Parser
from framework.cli.commands import COMMANDS


@pytest.mark.parametrize("name", COMMANDS)
def test_the_example_is_one_that_the_command_takes(name):
    framework, called, *rest = shlex.split(COMMANDS[name].example)
    assert (framework, called) == ("framework", name)
    Parser(name, COMMANDS[name]).read(rest)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_argument_is_explained_in_a_line_or_two(name):
    for declared in COMMANDS[name].arguments.values():
        assert 8 <= len(declared["help"]) <= 140
        assert declared["help"][-1] != "."
