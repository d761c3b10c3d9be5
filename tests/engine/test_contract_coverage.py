"""Holds the claim that each line of the engine's contract has a test."""

import ast
from pathlib import Path

LINES = {*range(1, 105), "1.18", *"abcdeghijklmnpqrstuwx"}


def lines_named_in(path):
    """Returns the arguments of the `@contract(...)` marks on the tests of a file."""
    return {
        argument.value
        for function in ast.walk(ast.parse(path.read_text()))
        if isinstance(function, ast.FunctionDef) and function.name.startswith("test_")
        for mark in function.decorator_list
        if isinstance(mark, ast.Call) and ast.unparse(mark.func) in ("contract", "pytest.mark.contract")
        for argument in mark.args
    }


def test_every_line_is_named_by_a_test():
    named = set().union(*map(lines_named_in, Path(__file__).parents[1].rglob("test_*.py")))
    assert sorted(map(str, LINES - named)) == []
