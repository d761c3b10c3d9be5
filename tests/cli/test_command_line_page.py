"""docs/command-line.md and the README: each command on them runs."""

import re
import shlex
from pathlib import Path

import pytest

from framework import main
from framework.cli.commands import COMMANDS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "command-line.md").read_text()


def blocks_of(page):
    return [[shlex.split(line) for line in block.splitlines()] for block in re.findall(r"```bash\n(.*?)```", page, flags=re.DOTALL)]


FIRST, *OTHERS = blocks_of(PAGE)
README = [block for block in blocks_of((ROOT / "README.md").read_text()) if block[0][0] == "framework"]


def call(words):
    assert words[0] == "framework"
    files = [str(path) for word in words if "*" in word for path in sorted(Path().glob(word))]
    spread = [each for word in words[1:] for each in (files if "*" in word else [word])]
    assert main(spread) == 0, words


@pytest.fixture
def digits(project):
    """The little project, with the names of the page."""
    config = (project / "config.yaml").read_text()
    (project / "config.yaml").write_text(config.replace("runs/points", "runs/digits").replace("max_epochs: 3", "max_epochs: 1"))
    assert main(["fit", "--config", "config.yaml"]) == 0
    return project


@pytest.mark.parametrize("block", [FIRST, *README], ids=["page", "README"])
def test_from_a_template_to_a_report(block, tmp_path, monkeypatch, modules_only_here):
    monkeypatch.chdir(tmp_path)
    for words in block:
        if words[0] == "cd":
            monkeypatch.chdir(words[1])
        else:
            call(words)
    assert [*Path.cwd().rglob("report.html")]


@pytest.mark.parametrize("block", OTHERS, ids=[block[0][1] for block in OTHERS])
def test_the_commands_run(digits, block, recwarn):
    for words in block:
        call(words)


def test_every_command_has_a_section():
    assert set(re.findall(r"^## (\w+)$", PAGE, flags=re.MULTILINE)) >= set(COMMANDS)


def test_every_flag_is_named():
    flags = {name for command in COMMANDS.values() for name in command.arguments if name.startswith("--")}
    assert {flag for flag in flags if flag not in PAGE} == set()
