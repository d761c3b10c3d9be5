"""The commands of docs/report.md run as they stand there."""

import re
import shlex
from pathlib import Path

from run_folders import usual_run

from framework import main

PAGE = Path(__file__).parents[2] / "docs" / "report.md"


def test_its_commands_draw_a_page(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        usual_run(tmp_path / "runs" / name)
    commands = re.findall(r"^```bash\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert commands
    for line in "".join(commands).splitlines():
        verb, *words = shlex.split(line)
        assert verb == "framework"
        expanded = [str(path) for word in words for path in (sorted(Path().glob(word)) if "*" in word else [word])]
        assert main(expanded) == 0
        assert capsys.readouterr().out == "report.html\n"
        assert "<title>a, b</title>" in Path("report.html").read_text()
