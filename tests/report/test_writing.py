import subprocess
import sys
from pathlib import Path

import pytest
from run_folders import usual_run, write_run

from framework import ConfigError, write_report


def test_one_run_or_several(tmp_path):
    first, second = usual_run(tmp_path / "a"), usual_run(tmp_path / "b")
    target = tmp_path / "report.html"
    assert write_report(first, target) == target
    assert "<title>a</title>" in target.read_text()
    assert write_report(str(first), str(target)) == target
    write_report([first, str(second), first], target)
    assert "<title>a, b</title>" in target.read_text()
    write_report((folder for folder in (second,)), target)
    assert "<title>b</title>" in target.read_text()


def test_links_are_those_of_the_place_of_the_page(tmp_path):
    run = usual_run(tmp_path / "runs" / "a")
    assert 'href="checkpoints/step-00000020/"' in write_report(run, run / "report.html").read_text()
    assert 'href="runs/a/checkpoints/step-00000020/"' in write_report(run, tmp_path / "report.html").read_text()


def test_a_page_in_the_folder_at_hand(tmp_path, monkeypatch):
    monkeypatch.chdir(usual_run(tmp_path / "a"))
    assert write_report(".", "report.html") == Path("report.html")
    assert 'href="checkpoints/step-00000020/"' in Path("report.html").read_text()


def test_the_page_is_whole_or_the_old_one_is_there(tmp_path, monkeypatch):
    run, target = usual_run(tmp_path / "a"), tmp_path / "report.html"
    target.write_text("old")

    def fail(path, other):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(ConfigError, match=r"report.html cannot be written: No space left on device. Give a file in a folder"):
        write_report(run, target)
    assert target.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "report.html"]


def test_a_target_that_cannot_be_is_refused(tmp_path):
    run = usual_run(tmp_path / "a")
    with pytest.raises(ConfigError, match="cannot be written: No such file or directory"):
        write_report(run, tmp_path / "no" / "report.html")
    with pytest.raises(ConfigError, match="cannot be written: Is a directory"):
        write_report(run, tmp_path)


def test_no_run_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"No run was given to draw a report of\. Give the folder of a run"):
        write_report([], tmp_path / "report.html")
    with pytest.raises(ConfigError, match="is no folder"):
        write_report([tmp_path / "a"], tmp_path / "report.html")


def test_texts_that_no_encoding_has_are_written(tmp_path):
    run = write_run(tmp_path / "a\udcff", points=[(1, 1, 0.0, {"train/\ud800": 1.0})], reason="\udcff")
    text = write_report(run, tmp_path / "report.html").read_text(encoding="utf-8")
    assert "a\\udcff" in text
    assert 'href="a%FF/metrics.jsonl"' in text


def test_writing_needs_no_torch(tmp_path):
    usual_run(tmp_path / "a")
    code = "import sys; from framework import write_report; write_report(sys.argv[1], sys.argv[2]); print('torch' in sys.modules)"
    command = [sys.executable, "-c", code, str(tmp_path / "a"), str(tmp_path / "a.html")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "False\n"
