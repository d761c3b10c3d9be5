"""The README's promises: its code runs, and prints what it says."""

import contextlib
import io
import re
import runpy
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import framework

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, flags=re.DOTALL)
PYTHON = [code for language, code in BLOCKS if language == "python"]
NUMBER = re.compile(r"\d+(?:\.\d+)?")


@pytest.fixture(scope="module")
def names():
    """What the README's code takes for granted: the imports, and the digits of the example."""
    example = runpy.run_path(str(ROOT / "examples" / "digits.py"))
    framework.seed_all(0)
    train, val = example["load"]()
    model = example["Digits"](width=4)
    given = {"torch": torch, "nn": nn, "F": F, "train": train, "val": val, "test": val, "model": model}
    return {**{name: getattr(framework, name) for name in framework.__all__}, **given}


def test_the_first_screen_prints_what_stands_below_it(names):
    framework.seed_all(0)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(PYTHON[0], names)
    shown = next(code for language, code in BLOCKS if language == "")
    assert len(PYTHON[0].replace("\n\n", "\n").splitlines()) <= 14
    for ours, theirs in zip(printed.getvalue().splitlines(), shown.splitlines(), strict=True):
        assert NUMBER.sub("#", ours) == NUMBER.sub("#", theirs)
        without_times = [[float(number) for number in NUMBER.findall(line)[:-1]] for line in (ours, theirs)]
        assert without_times[0] == pytest.approx(without_times[1], rel=0.02)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("readme")


@pytest.mark.parametrize("index", range(1, len(PYTHON)))
def test_the_code_runs(names, index, capsys, folder, monkeypatch):
    monkeypatch.chdir(folder)  # the code writes a run
    exec(PYTHON[index], names)


def test_the_two_commands_are_one_line_each():
    commands = re.findall(r"<!-- command: (\w+) -->\n```bash\n(.*?)\n```", README, flags=re.DOTALL)
    assert [name for name, _ in commands] == ["train", "tests"]
    assert all("\n" not in command for _, command in commands)


def test_every_setting_of_fit_is_named():
    settings = framework.module.settings.FitSettings.__dataclass_fields__
    assert [name for name in settings if f"`{name}`" not in README and f" {name}=" not in README] == []
