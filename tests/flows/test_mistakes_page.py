"""docs/mistakes.md: what it shows is what comes."""

import contextlib
import io
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import framework
from framework.tracebacks import FULL

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "mistakes.md").read_text()
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", PAGE, flags=re.DOTALL)
(CODE,) = [text for language, text in BLOCKS if language == "python"]
ERROR, TREE, CAUSE, SUMMARY = [text for language, text in BLOCKS if not language]
README = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)[0]

PROGRAM = """
import torch
from torch import nn
from torch.nn import functional as F

from framework import TrainModule


class Digits(TrainModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(32, 10))

    def training_step(self, batch):
        x, y = batch
        return F.cross_entropy(self.net(x), y)

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=3e-3)


train = [(torch.rand(64, 1, 8, 8), torch.randint(10, (64,)))] * 8
Digits().fit(train, max_epochs=3, run_dir="runs/digits")
"""

LIKELY = """
class Likely(Digits):
    def __init__(self):
        super().__init__()
        self.net[3] = nn.Linear(128, 10)

    def training_step(self, batch):
        x, y = batch
        p = self.net(x).softmax(-1).gather(1, y[:, None])
        return -torch.log((p - 0.5).relu()).mean()

Likely().fit(train, max_epochs=3, debug=True)
"""


def failure(folder, program, **environment):
    """Runs a program as train.py and returns what it says at its end, without numbers of lines and folders of libraries."""
    (folder / "train.py").write_text(program)
    done = subprocess.run(
        [sys.executable, "train.py"], cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1
    return plain(done.stderr.replace(f"{folder}/", ""))


def plain(text):
    text = re.sub(r'File "\S*/(torch/\S+)"', r'File ".../\1"', text)
    return re.sub(r"line \d+", "line #", text)


def test_the_error(tmp_path):
    assert failure(tmp_path, PROGRAM) == plain(ERROR)


def test_the_full_traceback_on_request(tmp_path):
    text = failure(tmp_path, PROGRAM, **{FULL: "1"})
    assert text.count("/framework/") > 5
    assert "train.py" in text


def test_the_cause(tmp_path):
    text = failure(tmp_path, PROGRAM.rpartition("Digits()")[0] + LIKELY)
    assert plain(" ".join(CAUSE.split())) in text


def test_the_tree_is_that_of_the_errors():
    assert TREE in framework.errors.__doc__


def test_the_dry_run_prints_the_summary():
    names = {name: getattr(framework, name) for name in framework.__all__} | {"torch": torch, "nn": nn, "F": F}
    names["train"], names["val"] = runpy.run_path(str(ROOT / "examples" / "digits.py"))["load"]()
    out = io.StringIO()
    exec(README.rpartition("\n\n\n")[0], names)
    with contextlib.redirect_stdout(out):
        exec(CODE, names)
    ours, theirs = out.getvalue().partition("\ntime "), SUMMARY.partition("\ntime ")
    assert ours[0] == theirs[0]
    assert re.sub(r"[\d.,]+", "#", ours[2]) == re.sub(r"[\d.,]+", "#", theirs[2])


@pytest.mark.parametrize("folder", ["docs", "."])
def test_links_lead_somewhere(folder):
    for page in (ROOT / folder).glob("*.md"):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
