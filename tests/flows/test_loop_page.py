"""docs/loop.md: its code runs, and prints what stands below it."""

import contextlib
import io
import re
import runpy
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

import framework

ROOT = Path(__file__).parents[2]
CODE, DRAWING = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "loop.md").read_text(), flags=re.DOTALL)


def printed():
    names = {name: getattr(framework, name) for name in framework.__all__}
    train, val = runpy.run_path(str(ROOT / "examples" / "digits.py"))["load"]()
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(CODE, {**names, "torch": torch, "nn": nn, "F": F, "train": train, "val": val})
    return out.getvalue()


def test_the_page_shows_what_is_printed():
    assert printed() == DRAWING


def test_the_drawing_fits_on_a_screen():
    assert len(DRAWING.splitlines()) <= 60
    assert max(map(len, DRAWING.splitlines())) <= 120
