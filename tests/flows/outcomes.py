"""What a run has left, read and compared: to the bit, and NaN is never equal."""

import json
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from processes import run
from torch import Tensor

from framework.checkpoint import CheckpointStore
from framework.loggers import MetricsFile

if sys.platform != "linux":
    pytest.skip("the programs of these tests are started and watched as Linux does it", allow_module_level=True)

TIMES = {"time_s", "epoch_s", "run_s", "times", "curves"}  # the last is a number of bytes, of which times take some
_FOLDER = TemporaryDirectory(prefix="never-stopped-")


def plan_of(folder, **plan):
    """A plan for a run in a folder."""
    return {"run_dir": str(Path(folder, "run")), "outcome": str(Path(folder, "outcome.pt")), **plan}


@cache
def never_stopped(**plan):
    """The folder of a run with this plan that nothing has disturbed; made once."""
    folder = Path(_FOLDER.name, "-".join(["run", *map(str, plan.values())]))
    folder.mkdir()
    ended = run(plan_of(folder, **plan))
    assert ended.code == 0, ended
    return folder


def assert_goes_on(folder, **plan):
    """Asserts that another process brings a run to the end that it would have had without any disturbance."""
    ended = run(plan_of(folder, leave_at_once=True, **{"seed": 99, **plan}))
    assert ended.code == 0, ended
    assert_same_end(folder, never_stopped(workers=2))


def assert_same_end(folder, expected):
    """Asserts that two runs gave their callers the same, left the same checkpoint, and wrote the same curves."""
    assert_equal(outcome(folder), outcome(expected))
    assert_equal(newest(folder), newest(expected))
    assert_equal(lines(folder), lines(expected))


def outcome(folder):
    return torch.load(Path(folder, "outcome.pt"), weights_only=True)


def newest(folder):
    """The newest checkpoint of the run in a folder, verified and read as a whole; None where there is none yet."""
    checkpoint = CheckpointStore(Path(folder, "run", "checkpoints")).newest()
    return None if checkpoint is None else {part: checkpoint.read(part) for part in checkpoint.parts}


def lines(folder):
    """The lines of metrics.jsonl without the times."""
    path = Path(folder, "run", "metrics.jsonl")
    MetricsFile(path).read()  # warns of a damaged line
    whole = path.read_text().split("\n")[:-1] if path.exists() else ()
    read = [json.loads(line) for line in whole]
    for line in read:
        line.pop("time_s", None)
        line["values"].pop("time_s", None)
    return read


def assert_equal(left, right, path="it"):
    """Asserts that two states are the same: types, names, order and every bit."""
    assert type(left) is type(right), path
    if isinstance(left, Tensor):
        assert left.dtype == right.dtype, path
        assert torch.equal(left, right), path
    elif isinstance(left, Mapping):
        assert list(left) == list(right), path
        for name in left:
            if name not in TIMES:
                assert_equal(left[name], right[name], f"{path}[{name!r}]")
    elif isinstance(left, list | tuple):
        assert len(left) == len(right), path
        for index, (one, other) in enumerate(zip(left, right, strict=True)):
            assert_equal(one, other, f"{path}[{index}]")
    else:
        assert left == right, path
