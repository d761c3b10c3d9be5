"""docs/migration.md: its code runs, and the hooks and names it sends readers to exist."""

import re
import runpy
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import framework
from framework.module.checks.foreign_hooks import FOREIGN_HOOKS
from framework.module.hooks import EVALUATION_PREFIX, known_hooks

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "migration.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.mark.parametrize("code", PYTHON)
def test_the_code_runs(code, capsys):
    names = {name: getattr(framework, name) for name in framework.__all__}
    train, _ = runpy.run_path(str(ROOT / "examples" / "digits.py"))["load"]()
    exec(code, {**names, "torch": torch, "nn": nn, "F": F, "train": train})


def rows_of(heading):
    table = PAGE.split(heading)[1].split("\n\n|")[1].split("\n\n")[0]
    rows = [row.strip("|\n").split(" | ") for row in table.splitlines()[2:]]
    return [(re.findall(r"`([a-z_]+)", left), re.findall(r"`([a-z_]+)", right)) for left, right in rows]


def test_every_hook_named_is_a_hook():
    hooks = [*known_hooks(), *(f"{EVALUATION_PREFIX}{event.value}" for event in framework.Events)]
    rows = rows_of("### Hook by hook")
    assert len(rows) >= 9
    for _, ours in rows:
        assert [name for name in ours if name.startswith("on_") and name not in hooks] == []


def test_the_page_and_the_refusals_agree():
    for theirs, ours in rows_of("### Hook by hook"):
        for name in theirs:
            if name in FOREIGN_HOOKS:
                assert FOREIGN_HOOKS[name] in ours
