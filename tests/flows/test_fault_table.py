"""docs/reliability.md: each row of its table that says so is held by tests, and no test holds a row that is not said to be."""

import ast
import re
from pathlib import Path
from signal import SIGINT, SIGTERM, SIGUSR1

import pytest

from framework.module.stopping.watchdog import EXIT_HUNG

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reliability.md").read_text()
TABLE = PAGE.split("## What goes wrong, and what happens")[1].split("\n## ")[0]
ROWS = {int(row[0]): row[1:] for line in TABLE.splitlines() if (row := re.split(r" *\| *", line.strip("| "))) and row[0].isdigit()}


def marks(node):
    """Returns the rows that a `pytest.mark.fault(...)` names, none for other code."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "fault":
        return [ast.literal_eval(argument) for argument in node.args]
    return []


def marked(folder):
    paths = (ROOT / "tests" / folder).rglob("test_*.py")
    return {row for path in paths for node in ast.walk(ast.parse(path.read_text())) for row in marks(node)}


def test_the_table_is_whole():
    assert list(ROWS) == list(range(1, 38))
    assert {len(row) for row in ROWS.values()} == {3}
    assert {held for *_, held in ROWS.values()} == {"yes"}
    assert all(bool(happens) == (held == "yes") for _, happens, held in ROWS.values())


def test_what_is_said_to_hold_is_tested_and_the_other_way_round():
    assert {row for row, (*_, held) in ROWS.items() if held == "yes"} == marked(".")


def test_whole_runs_hold_every_row_but_those_of_the_modelled_disk_and_of_what_never_runs():
    assert marked(".") - marked("flows") == {2, 33}


@pytest.mark.parametrize("code", [128 + SIGTERM, 128 + SIGUSR1, 128 + SIGINT, EXIT_HUNG])
def test_the_exit_codes_are_those_of_the_program(code):
    assert f"exit code {int(code)}" in TABLE
