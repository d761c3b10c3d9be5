"""docs/templates.md: its commands run, in order, and its tables are complete."""

import re
import shlex
from pathlib import Path

from framework import main

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "templates.md").read_text()
BLOCKS = re.findall(r"```bash\n(.*?)```", PAGE, flags=re.DOTALL)


def test_the_commands_run(tmp_path, monkeypatch, modules_of_one_project):
    monkeypatch.chdir(tmp_path)
    for line in "".join(BLOCKS).splitlines():
        program, *words = shlex.split(line)
        if program == "cd":
            monkeypatch.chdir(*words)
        else:
            assert program == "framework"
            assert main(words) == 0, line
    written = {path.name for path in (tmp_path / "digits").iterdir()}
    assert {"predictions.jsonl", "both.html", "runs"} <= written


def test_the_training_in_python_that_it_shows_runs(tmp_path, monkeypatch, modules_of_one_project):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(ROOT / "templates" / "blank"))
    (call,) = re.findall(r"`(Model\(\)\.fit\(.*?\))`", PAGE)
    exec(f"from data import load\nfrom module import Model\nassert {call}.status == 'completed'", {})


def test_every_template_and_every_file_has_its_row():
    rows = re.findall(r"^\| `([\w.]+)` \| ", PAGE, flags=re.MULTILINE)
    templates = sorted((ROOT / "templates").iterdir())
    assert sorted(rows) == sorted([path.name for path in templates] + [path.name for path in templates[0].glob("*.*")])
