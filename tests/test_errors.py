import re

import pytest

from framework import errors

TREE = {
    "FrameworkError": Exception,
    "ModuleError": TypeError,
    "SettingError": ValueError,
    "ConfigError": ValueError,
    "DataError": ValueError,
    "StepError": TypeError,
    "NonFiniteError": ArithmeticError,
    "AcceleratorError": RuntimeError,
    "RankError": RuntimeError,
    "CheckpointError": RuntimeError,
    "ResumeError": ValueError,
}


@pytest.mark.parametrize(("name", "builtin"), TREE.items())
def test_each_is_a_framework_error_and_a_builtin_one(name, builtin):
    error = getattr(errors, name)
    assert issubclass(error, errors.FrameworkError)
    assert issubclass(error, builtin)


def test_the_drawing_is_the_tree():
    drawn = dict(re.findall(r"[├└]── (\w+) \((\w+)\)", errors.__doc__))
    assert {"FrameworkError": "Exception", **drawn} == {name: builtin.__name__ for name, builtin in TREE.items()}


def test_there_are_no_others():
    assert {name for name, value in vars(errors).items() if isinstance(value, type)} == set(TREE)
