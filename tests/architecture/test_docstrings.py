"""Every example in a docstring runs, and every public name has one."""

import doctest
import inspect
from importlib import import_module
from pkgutil import walk_packages

import pytest

import framework

MODULES = ["framework", *(module.name for module in walk_packages(framework.__path__, "framework."))]
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.mark.parametrize("module", MODULES)
def test_examples_run(module):
    results = doctest.testmod(import_module(module), optionflags=OPTIONS)
    assert results.failed == 0


@pytest.mark.parametrize("name", framework.__all__)
def test_each_public_name_has_an_example(name):
    documentation = inspect.getdoc(getattr(framework, name))
    assert documentation
    assert ">>> " in documentation


@pytest.mark.parametrize("name", framework.__all__)
def test_the_first_line_says_what_it_does(name):
    first, *rest = inspect.getdoc(getattr(framework, name)).splitlines()
    assert first.endswith((".", ":"))
    assert not rest or rest[0] == ""


def test_a_wrong_example_is_found():
    def wrong():
        """
        >>> 1 + 1
        3
        """

    runner = doctest.DocTestRunner(verbose=False)
    for test in doctest.DocTestFinder().find(wrong, "wrong", globs={}):
        assert runner.run(test, out=lambda text: None).failed == 1
