"""config.yaml and environment.json of a run."""

import json
import sys

import pytest
import torch
import yaml

from framework import EMA, CheckpointError, Events, TrainModule
from framework.module.resuming.provenance import described_by

DATA = [torch.ones(2, 1)]


class Line(TrainModule):
    def __init__(self, width=1, *, rate=0.1, activation=None):
        super().__init__()
        self.rate = rate
        self.layer = torch.nn.Linear(1, width)

    def training_step(self, batch):
        return self.layer(batch).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.rate)


def fit(folder, model=None, **settings):
    return (model or Line()).fit(DATA, max_epochs=settings.pop("max_epochs", 2), progress=False, run_dir=folder, **settings)


def test_a_script_leaves_what_the_module_and_fit_were_given(tmp_path):
    fit(tmp_path, Line(2, activation=torch.nn.ReLU()), handlers=[EMA()], save_every=Events.ITERATION_COMPLETED(every=2), seed=3)
    text = (tmp_path / "config.yaml").read_text()
    config = yaml.safe_load(text)
    assert text.startswith("# Written by fit")
    assert list(config) == ["model", "fit"]
    assert config["model"] == {"class_path": f"{__name__}.Line", "init_args": {"width": 2, "rate": 0.1}}
    assert (config["fit"]["max_epochs"], config["fit"]["seed"], config["fit"]["handlers"]) == (2, 3, ["EMA"])
    assert config["fit"]["run_dir"] == str(tmp_path)


def test_a_given_text_is_kept_as_it_is(tmp_path):
    with described_by("model: {class_path: module.Line}\n"):
        fit(tmp_path / "a")
    fit(tmp_path / "b")
    assert (tmp_path / "a" / "config.yaml").read_text() == "model: {class_path: module.Line}\n"
    assert (tmp_path / "b" / "config.yaml").read_text().startswith("# Written by fit")


def test_each_process_that_worked_on_a_run_has_an_entry(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py", "--x"])
    monkeypatch.chdir(tmp_path)
    fit("run", seed=5)
    fit("run", max_epochs=4, seed=5)
    first, second = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert first["command"] == ["train.py", "--x"]
    assert first["folder"] == str(tmp_path)
    assert first["world_size"] == 1
    assert (first["torch"], first["device"], first["precision"], first["seed"]) == (torch.__version__, "cpu", "fp32", 5)
    assert (first["goes_on_from"], second["goes_on_from"]) == (None, 2)
    assert first["began"] <= second["began"]


def test_the_text_is_that_of_the_last_process(tmp_path):
    fit(tmp_path)
    fit(tmp_path, max_epochs=4)
    assert yaml.safe_load((tmp_path / "config.yaml").read_text())["fit"]["max_epochs"] == 4


@pytest.mark.parametrize("content", [b"{}", b"[", b"\xff", b"[" * 100_000], ids=["mapping", "cut", "bytes", "deep"])
def test_a_damaged_file_is_begun_anew_with_a_warning(tmp_path, content):
    fit(tmp_path)
    (tmp_path / "environment.json").write_bytes(content)
    with pytest.warns(UserWarning, match=r"environment.json cannot be read \(.*\), and is begun anew"):
        fit(tmp_path, max_epochs=3)
    assert len(json.loads((tmp_path / "environment.json").read_text())) == 1


def test_where_it_cannot_be_written_the_run_does_not_begin(tmp_path):
    (tmp_path / "config.yaml").mkdir()
    with pytest.raises(CheckpointError, match=r"Writing .*config.yaml and environment.json failed: .*Is a directory"):
        fit(tmp_path)


def test_a_dry_run_and_a_run_that_is_over_write_nothing(tmp_path):
    fit(tmp_path / "dry", dry_run=True)
    assert not (tmp_path / "dry").exists()
    fit(tmp_path / "run")
    before = (tmp_path / "run" / "environment.json").read_bytes()
    with pytest.warns(UserWarning, match="Nothing was trained"):
        fit(tmp_path / "run")
    assert (tmp_path / "run" / "environment.json").read_bytes() == before


def test_what_a_killed_write_has_left_is_removed(tmp_path):
    for name in ("config.yaml", "environment.json", "report.html", "run.json"):
        (tmp_path / f".tmp-{name}-123").touch()
    fit(tmp_path)
    assert list(tmp_path.glob(".tmp-*")) == []


def test_a_report_is_drawn_at_the_end(tmp_path):
    fit(tmp_path)
    assert "max_epochs=2 was reached." in (tmp_path / "report.html").read_text()


def test_a_report_that_fails_is_a_warning(tmp_path, monkeypatch):
    def broken(folders, target):
        raise ValueError("no ink.")

    monkeypatch.setattr("framework.module.resuming.run_folder.write_report", broken)
    with pytest.warns(
        UserWarning, match=r"report.html could not be drawn: ValueError: no ink. The run is whole; `framework report"
    ):
        result = fit(tmp_path)
    assert result.status == "completed"
    assert json.loads((tmp_path / "run.json").read_text())["status"] == "completed"
