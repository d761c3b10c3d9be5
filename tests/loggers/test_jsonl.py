import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import warnings
from decimal import Decimal
from errno import ENOSPC
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from framework.loggers import MetricsFile

NAN, INF = math.nan, math.inf


@pytest.fixture
def path(tmp_path):
    return tmp_path / "metrics.jsonl"


@pytest.fixture
def file(path):
    file = MetricsFile(path)
    yield file
    file.close()


def fill(file, first, last):
    """Writes a point for each iteration, and a row for each tenth."""
    for iteration in range(first, last + 1):
        file.points(iteration, 1, 0.5, {"train/loss": iteration / 8})
        if iteration % 10 == 0:
            file.row({"iteration": iteration})


def filled(last):
    return (
        {"train/loss": [(iteration, iteration / 8, 1, 0.5) for iteration in range(1, last + 1)]} if last else {},
        [{"iteration": iteration} for iteration in range(10, last + 1, 10)],
    )


def warnings_of(call, *arguments):
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        call(*arguments)
    return [str(warning.message) for warning in warned]


def test_a_line_a_call(file, path):
    file.points(50, 1, 1700000000.25, {"train/loss": 0.5, "norm": 2.0})
    file.row({"epoch": 1, "val/loss": NAN})
    assert path.read_text() == (
        '{"kind": "points", "iteration": 50, "epoch": 1, "time_s": 1700000000.25, "values": {"train/loss": 0.5, "norm": 2.0}}\n'
        '{"kind": "row", "values": {"epoch": 1, "val/loss": "NaN"}}\n'
    )


def test_curves_and_rows_come_back_in_their_order(file):
    file.points(50, 1, 7.0, {"train/loss": 0.5, "train/norm": 2.0})
    file.row({"epoch": 1})
    file.points(100, 2, 8.0, {"train/loss": 0.25})
    file.row({"epoch": 2})
    assert file.read() == (
        {"train/loss": [(50, 0.5, 1, 7.0), (100, 0.25, 2, 8.0)], "train/norm": [(50, 2.0, 1, 7.0)]},
        [{"epoch": 1}, {"epoch": 2}],
    )


def test_where_there_is_no_file_there_is_nothing_and_reading_makes_none(file, path):
    assert file.read() == ({}, [])
    assert not path.exists()


words = st.text().filter(lambda text: text not in ("NaN", "Infinity", "-Infinity"))
numbers = st.floats() | st.integers()
values = st.recursive(
    st.none() | st.booleans() | numbers | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=5,
)
lines = st.one_of(
    st.tuples(
        st.integers(0, 2**63), st.integers(0, 2**31), st.floats(allow_nan=False), st.dictionaries(words, st.floats(), max_size=3)
    ),
    st.dictionaries(words, values, max_size=4),
)


def write(file, line):
    file.row(line) if isinstance(line, dict) else file.points(*line)


def expected(lines):
    series, history = {}, []
    for line in lines:
        if isinstance(line, dict):
            history.append(line)
        else:
            iteration, epoch, time_s, values = line
            for name, value in values.items():
                series.setdefault(name, []).append((iteration, value, epoch, time_s))
    return series, history


def refuse_constant(name):
    raise AssertionError(f"{name} is no strict JSON")


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(st.lists(lines, max_size=6))
def test_what_is_written_is_strict_json_and_comes_back(written):
    with tempfile.TemporaryDirectory() as folder:
        file = MetricsFile(Path(folder) / "metrics.jsonl")
        for line in written:
            write(file, line)
        file.close()
        assert repr(file.read()) == repr(expected(written))  # repr: NaN equals itself, -0.0 does not equal 0.0, 1 not 1.0
        if written:
            text = file.path.read_text("ascii")
            assert len([json.loads(line, parse_constant=refuse_constant) for line in text.splitlines()]) == len(written)


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(st.lists(lines, min_size=1, max_size=5), st.data())
def test_killed_at_any_byte_cut_at_any_line_and_gone_on_with(written, data):
    with tempfile.TemporaryDirectory() as folder:
        file, positions = MetricsFile(Path(folder) / "metrics.jsonl"), []
        for line in written:
            positions.append(file.position())
            write(file, line)
        file.close()
        kept = data.draw(st.integers(0, len(written) - 1), "lines of the checkpoint")
        size = data.draw(st.integers(positions[kept], file.path.stat().st_size), "bytes that the killed process has written")
        os.truncate(file.path, size)
        whole = file.path.read_bytes().count(b"\n")
        assert repr(file.read()) == repr(expected(written[:whole]))
        resumed = MetricsFile(file.path)
        resumed.cut(positions[kept])
        assert repr(resumed.read()) == repr(expected(written[:kept]))
        for line in written[kept:]:
            write(resumed, line)
        resumed.close()
        assert repr(resumed.read()) == repr(expected(written))


def test_numbers_that_are_not_finite_are_texts_in_the_file_and_numbers_again(file, path):
    file.points(1, 1, 0.5, {"a": NAN, "b": INF, "c": -INF})
    file.row({"x": [NAN, {"y": -INF}]})
    assert '"values": {"a": "NaN", "b": "Infinity", "c": "-Infinity"}' in path.read_text()
    assert repr(file.read()) == (
        "({'a': [(1, nan, 1, 0.5)], 'b': [(1, inf, 1, 0.5)], 'c': [(1, -inf, 1, 0.5)]}, [{'x': [nan, {'y': -inf}]}])"
    )


def test_what_becomes_of_other_values(file):
    file.row(
        {
            "vector": torch.tensor([1.0, NAN], requires_grad=True),
            "half": torch.tensor(0.5, dtype=torch.bfloat16),
            "matrix": np.array([[1, 2]]),
            "float32": np.float32(0.5),
            "float64": np.float64(INF),
            "int64": np.int64(3),
            "pair": (1, 2),
            "by number": {1: True},
            "decimal": Decimal("1.5"),
            "complex": 1j,
        }
    )
    ((row,),) = file.read()[1:]
    assert repr(row) == repr(
        {
            "vector": [1.0, NAN],
            "half": 0.5,
            "matrix": [[1, 2]],
            "float32": 0.5,
            "float64": INF,
            "int64": 3,
            "pair": [1, 2],
            "by number": {"1": True},
            "decimal": "Decimal('1.5')",
            "complex": "1j",
        }
    )


def test_a_position_is_a_moment_to_come_back_to(file, path):
    assert file.position() == 0
    fill(file, 1, 12)
    moment = file.position()
    assert moment == path.stat().st_size
    fill(file, 13, 25)
    file.cut(moment)
    assert path.stat().st_size == file.position() == moment
    assert file.read() == filled(12)
    fill(file, 13, 15)
    assert file.read() == filled(15)


def test_a_position_is_on_the_disk(file, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_size))
    fill(file, 1, 3)
    assert synced == []
    assert [file.position()] == synced


def test_a_line_that_was_not_finished_is_passed_over_and_taken_away_before_the_next(path, file):
    fill(file, 1, 12)
    file.close()
    with path.open("ab") as stream:
        stream.write(b'{"kind": "row", "values": {}}')  # whole but for its end
    assert file.read() == filled(12)
    fill(file, 13, 14)
    assert file.read() == filled(14)
    assert path.read_bytes().count(b"\n") == 15


def test_a_long_line_that_was_not_finished(path, file):
    fill(file, 1, 12)
    size = file.position()
    file.close()
    with path.open("ab") as stream:
        stream.write(b"\0" * 200_000)
    assert MetricsFile(path).read() == filled(12)
    assert file.position() == size == path.stat().st_size


def test_a_file_of_one_unfinished_line_is_empty(path, file):
    path.write_bytes(b"x" * 100_000)
    assert file.read() == ({}, [])
    assert file.position() == path.stat().st_size == 0


def test_a_position_inside_a_line_cuts_the_whole_line(file):
    fill(file, 1, 5)
    position = file.position()
    fill(file, 6, 8)
    file.cut(position + 1)
    assert file.read() == filled(5)


def test_a_file_that_ends_too_early_is_said_to_be_incomplete(path, file):
    fill(file, 1, 12)
    position = file.position()
    file.close()
    os.truncate(path, position - 3)
    left = MetricsFile(path)
    said = warnings_of(left.cut, position)
    assert said == [
        f"{path} has {path.stat().st_size} bytes and should have {position}: the curves before this moment are incomplete. The run "
        "goes on from its checkpoint, and the file is appended to."
    ]
    fill(left, 12, 12)
    left.close()
    assert left.read()[0] == filled(12)[0]


DAMAGED = [
    b"",
    b"\0\0\0",
    b"nonsense",
    b"\xff\xfe",
    b"[]",
    b"3",
    b"{}",
    b'{"kind": "row"}',
    b'{"kind": "row", "values": 3}',
    b'{"kind": "else", "values": {}}',
    b'{"kind": ["points"], "values": {}}',
    b'{"kind": "points", "values": {}}',
    b'{"kind": "points", "iteration": "x", "epoch": 1, "time_s": 1, "values": {}}',
    b'{"kind": "points", "iteration": 1e999, "epoch": 1, "time_s": 1, "values": {}}',
    b'{"kind": "points", "iteration": 1, "epoch": 1, "time_s": null, "values": {}}',
    b'{"kind": "points", "iteration": 1, "epoch": 1, "time_s": 1, "values": {"a": 1, "b": [1]}}',
    b'{"kind": "row", "values": ' + b"[" * 100_000,
]


@pytest.mark.parametrize("line", DAMAGED, ids=range(len(DAMAGED)))
def test_a_damaged_line_is_passed_over_with_its_number(path, file, line):
    fill(file, 1, 3)
    file.close()
    whole = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(whole[0] + line + b"\n" + b"".join(whole[1:]))
    found = []
    said = warnings_of(lambda: found.append(file.read()))
    assert found == [filled(3)]
    assert said == [f"{path} is damaged; these lines are passed over, and their points are missing: 2."]


def test_of_many_damaged_lines_some_are_named(path, file):
    path.write_bytes(b"x\n" * 13)
    with pytest.warns(UserWarning, match=r"are missing: 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 3 more\.$"):
        assert file.read() == ({}, [])


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.warns(UserWarning, match=r"cannot be read, so its curves are missing: Is a directory") as warned:
        assert MetricsFile(tmp_path).read() == ({}, [])
    assert str(tmp_path) in str(warned[0].message)


def test_close_may_be_called_again_and_a_later_line_opens_the_file(path, file):
    file.close()
    fill(file, 1, 3)
    file.close()
    file.close()
    fill(file, 4, 5)
    assert file.read() == filled(5)


# What goes wrong while a run writes


@pytest.mark.fault(28)
def test_a_folder_that_is_not_there_is_one_warning(tmp_path):
    path = tmp_path / "missing" / "metrics.jsonl"
    file = MetricsFile(path)
    assert warnings_of(fill, file, 1, 20) == [
        f"{path} cannot be written: No such file or directory. The run goes on without it; its curves end here."
    ]
    assert file.failed
    assert file.position() == 0
    file.cut(0)
    file.close()
    assert not path.parent.exists()


@pytest.mark.fault(28)
@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be removed there")
def test_a_folder_that_is_removed_while_the_run_writes_is_one_warning(tmp_path):
    path = tmp_path / "run" / "metrics.jsonl"
    path.parent.mkdir()
    file = MetricsFile(path)
    fill(file, 1, 3)
    position = file.position()
    path.unlink()
    path.parent.rmdir()
    assert warnings_of(fill, file, 4, 20) == [
        f"{path} cannot be written: the file was removed. The run goes on without it; its curves end here."
    ]
    assert file.failed
    assert file.position() == position


@pytest.mark.fault(28)
def test_a_disk_that_fails_at_a_checkpoint_is_one_warning(path, file, monkeypatch):
    def full(descriptor):
        raise OSError(ENOSPC, "No space left on device")

    fill(file, 1, 3)
    size = path.stat().st_size
    monkeypatch.setattr(os, "fsync", full)
    with pytest.warns(UserWarning, match=r"metrics.jsonl cannot be written: No space left on device\. The run") as warned:
        assert file.position() == size
    assert file.position() == size
    fill(file, 4, 5)
    assert len(warned) == 1
    assert file.read() == filled(3)


def test_a_cut_that_fails_is_one_warning(tmp_path):
    file = MetricsFile(tmp_path)
    with pytest.warns(UserWarning, match=r"cannot be written: Is a directory") as warned:
        file.cut(0)
    file.cut(0)
    assert len(warned) == 1
    assert file.failed


def run_python(code, *arguments, **options):
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, **options)


FILL_A_SMALL_DISK = """
import resource, sys, warnings
from framework.loggers import MetricsFile
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
file = MetricsFile(sys.argv[1])
with warnings.catch_warnings(record=True) as warned:
    warnings.simplefilter("always")
    for iteration in range(1, 101):
        file.points(iteration, 1, 0.5, {"train/loss": iteration / 8})
    print(file.failed, file.position())
    file.close()
print(*(warning.message for warning in warned), sep="\\n")
"""


@pytest.mark.fault(28)
@pytest.mark.skipif(sys.platform == "win32", reason="no limits there")
def test_a_full_disk_is_one_warning_and_leaves_whole_lines(path):
    child = run_python(FILL_A_SMALL_DISK, path)
    output = child.communicate(timeout=60)[0].decode().splitlines()
    assert child.returncode == 0
    assert path.stat().st_size == 1000  # the last line was not finished
    series, _ = MetricsFile(path).read()
    count = len(series["train/loss"])
    assert series == filled(count)[0]
    end = len(b"".join(path.read_bytes().splitlines(keepends=True)[:count]))
    assert output == [
        f"True {end}",
        f"{path} cannot be written: File too large. The run goes on without it; its curves end here.",
    ]
    resumed = MetricsFile(path)
    resumed.cut(end)
    fill(resumed, count + 1, 20)
    resumed.close()
    assert resumed.read()[0] == filled(20)[0]


WRITE_UNTIL_KILLED = """
import os, sys
from itertools import count
from framework.loggers import MetricsFile
file = MetricsFile(sys.argv[1])
for iteration in count(1):
    file.points(iteration, 1, 0.5, {"train/loss": iteration / 8})
    if iteration % 10 == 0:
        file.row({"iteration": iteration})
    os.write(1, b".")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")
@pytest.mark.parametrize("told", [1, 300, 3001])
def test_a_killed_process_loses_no_line(path, told):
    child = run_python(WRITE_UNTIL_KILLED, path)
    seen = 0
    while seen < told:
        seen += len(os.read(child.stdout.fileno(), told - seen))
    child.send_signal(signal.SIGKILL)
    assert child.wait(timeout=60) == -signal.SIGKILL
    child.stdout.close()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        series, history = MetricsFile(path).read()
    count = len(series["train/loss"])
    assert count >= told
    assert series == filled(count)[0]
    assert len(history) in (count // 10, count // 10 - (count % 10 == 0))


def test_what_is_no_plain_file_is_not_read(tmp_path):
    (tmp_path / "metrics.jsonl").symlink_to("/dev/zero")  # which never ends
    with pytest.warns(UserWarning, match=r"so its curves are missing: metrics.jsonl is no plain file"):
        assert MetricsFile(tmp_path / "metrics.jsonl").read() == ({}, [])
