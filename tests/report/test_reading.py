import json
import math
import os
import subprocess
import sys
import warnings

import pytest
import torch
from run_folders import usual_run, write_checkpoint, write_run

from framework import ConfigError, Events, TrainModule, read_run

NAN = math.nan


class Line(TrainModule):
    def __init__(self, lr=0.1):
        super().__init__()
        self.lr = lr
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch):
        return self.layer(batch).square().mean()

    def evaluation_step(self, batch):
        return {"loss": self.layer(batch).square().mean()}

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.lr)


DATA = [torch.full((2, 1), 1.0 + index) for index in range(4)]


def train(folder, epochs=2, **settings):
    settings = {"log_every": 2, "progress": False, "monitor": "val/loss"} | settings
    return Line(0.01).fit(DATA, DATA[:1], max_epochs=epochs, run_dir=folder, **settings)


def test_what_fit_returned_is_read_again_without_a_warning(tmp_path):
    result = train(tmp_path / "line")
    run = read_run(tmp_path / "line")
    assert (run.name, run.path, run.status, run.reason) == ("line", tmp_path / "line", result.status, result.reason)
    assert (run.metrics, run.history) == (result.metrics, result.history)
    assert {name: [point[:3] for point in points] for name, points in run.series.items()} == {
        name: [tuple(point[:3]) for point in points] for name, points in result.series.items()
    }
    assert (run.best_checkpoint.path, run.last_checkpoint.path) == (result.best_checkpoint, result.last_checkpoint)
    assert run.iteration == result.state.iteration
    assert "monitor: val/loss" in run.config
    assert [entry["goes_on_from"] for entry in run.environment] == [None]


def test_a_checkpoint_knows_its_step_epoch_and_monitored_value(tmp_path):
    result = train(tmp_path / "line", validate_every=Events.ITERATION_COMPLETED(every=2), keep=None)
    run = read_run(tmp_path / "line")
    values = {row["iteration"]: row["val/loss"] for row in result.history if "val/loss" in row}
    assert run.monitor == "val/loss"
    assert {each.step: each.value for each in run.checkpoints} == {0: None, **values}
    assert {each.step: each.epoch for each in run.checkpoints} == {0: 0, 2: 1, 4: 1, 6: 2, 8: 2}
    assert run.best_checkpoint.value == min(values.values())


def test_a_run_that_goes_on_has_all_its_processes(tmp_path):
    train(tmp_path / "line", 1)
    train(tmp_path / "line", 2)
    assert [entry["goes_on_from"] for entry in read_run(tmp_path / "line").environment] == [None, 4]


def test_numbers_that_are_not_finite_come_back(tmp_path):
    run = read_run(
        write_run(
            tmp_path / "a",
            points=[(1, 1, 0.0, {"train/loss": NAN}), (2, 1, 0.0, {"train/loss": math.inf})],
            metrics={"val/loss": NAN, "val/matrix": [[1, -math.inf]]},
        )
    )
    assert math.isnan(run.series["train/loss"][0][1])
    assert run.series["train/loss"][1][1] == math.inf
    assert math.isnan(run.metrics["val/loss"])
    assert run.metrics["val/matrix"] == [[1, -math.inf]]


def test_a_run_at_work_is_read_as_far_as_it_is(tmp_path):
    folder = write_run(tmp_path / "a", status="running", reason="", points=[(1, 1, 0.0, {"train/loss": 0.5})])
    assert read_run(folder).metrics == {"train/loss": 0.5}
    write_run(folder, status="running", reason="", rows=[{"epoch": 1, "iteration": 1, "val/loss": 0.25, "val/list": [1]}])
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "points", "iteration": 2')  # being written
    assert read_run(folder).metrics == {"val/loss": 0.25, "val/list": [1]}


def test_reading_writes_nothing_and_takes_no_lock(tmp_path):
    folder = usual_run(tmp_path / "a")
    before = sorted(tmp_path.rglob("*"))
    read_run(folder)
    assert sorted(tmp_path.rglob("*")) == before


def test_reading_needs_no_torch(tmp_path):
    usual_run(tmp_path / "a")
    code = "import sys; from framework import read_run; print(read_run(sys.argv[1]).status, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a")], capture_output=True, text=True, check=True)
    assert done.stdout == "completed False\n"


def test_what_is_not_there_is_empty(tmp_path):
    run = read_run(write_run(tmp_path / "a"))
    assert (run.config, run.environment, run.checkpoints, run.monitor, run.series) == (None, [], [], None, {})


def test_checkpoints_are_sorted_and_what_is_none_is_left_out(tmp_path):
    folder = write_run(tmp_path / "a")
    write_checkpoint(folder, 9, epoch=1)
    write_checkpoint(folder, 10, epoch=2, best=True)
    write_checkpoint(folder, 10, number=2)
    write_checkpoint(folder, 123456789)
    (folder / "checkpoints" / ".tmp-11-1").mkdir()
    (folder / "checkpoints" / "last.json").write_text("{}")
    (folder / "checkpoints" / "step-00000011").symlink_to(tmp_path)
    names = [each.path.name for each in read_run(folder).checkpoints]
    assert names == ["step-123456789", "step-00000010.2", "step-00000010", "step-00000009"]
    assert read_run(folder).best_checkpoint.path.name == "step-00000010"


@pytest.mark.parametrize("manifest", ["", "[]", "{}", '{"facts": {"epoch": "x"}, "best": true}', "[" * 100_000])
def test_a_damaged_manifest_tells_nothing(tmp_path, manifest):
    folder = write_run(tmp_path / "a")
    (write_checkpoint(folder, 1, best=True) / "manifest.json").write_text(manifest)
    [checkpoint] = read_run(folder).checkpoints
    assert (checkpoint.step, checkpoint.epoch, checkpoint.was_best) == (1, None, False)


@pytest.mark.parametrize("text", ["", "{}", "[1]", "[" * 100_000])
def test_a_damaged_environment_is_warned_of(tmp_path, text):
    folder = write_run(tmp_path / "a")
    (folder / "environment.json").write_text(text)
    with pytest.warns(UserWarning, match=r"environment.json cannot be read, so the processes of the run are not shown"):
        assert read_run(folder).environment == []


def test_a_configuration_of_any_bytes_is_read(tmp_path):
    folder = write_run(tmp_path / "a")
    (folder / "config.yaml").write_bytes(b"fit: {monitor: val/\xff}")
    assert read_run(folder).config == "fit: {monitor: val/\\xff}"


def test_a_folder_without_a_run_is_refused_with_those_near_it(tmp_path):
    runs = [write_run(tmp_path / "runs" / f"r{index}") for index in range(7)]
    checkpoint = write_checkpoint(runs[0], 3)
    (checkpoint / "run.json").write_text("{}")
    (tmp_path / "runs" / "no").mkdir()
    near = ", ".join(map(str, runs[:5])) + " and 2 more"
    with pytest.raises(
        ConfigError, match=r"runs holds no run: a run is a folder that fit\(..., run_dir=...\) has written"
    ) as refused:
        read_run(tmp_path / "runs")
    assert str(refused.value).endswith(f"The runs near it: {near}.")
    for name, what in (("no", "holds no run"), ("r9", "is no folder")):
        with pytest.raises(ConfigError, match=what) as refused:
            read_run(tmp_path / "runs" / name)
        assert str(refused.value).endswith(f"The runs near it: {near}.")
    for path in (checkpoint, checkpoint.parent):
        with pytest.raises(ConfigError, match="holds no run") as refused:
            read_run(path)
        assert str(refused.value).endswith(f"The runs near it: {runs[0]}.")


def test_where_none_is_near_nothing_is_named(tmp_path):
    alone = tmp_path / "folder" / "inside"  # beside tmp_path lie those of other tests
    alone.mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"with a run.json in it\.$"):
        read_run(alone)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "[" * 100_000, '{"status": "completed", "reason": "x"}'])
def test_a_damaged_status_is_refused(tmp_path, text):
    folder = write_run(tmp_path / "a")
    (folder / "run.json").write_text(text)
    with pytest.raises(ConfigError, match=r"run.json cannot be read \(\w+: .*Give the folder of another run"):
        read_run(folder)


def test_a_status_of_another_type_is_refused(tmp_path):
    folder = write_run(tmp_path / "a")
    (folder / "run.json").write_text(json.dumps({"status": 7, "reason": "x", "metrics": {}}))
    with pytest.raises(ConfigError, match=r"run.json is damaged: status is 7\. Give the folder of another run"):
        read_run(folder)


def test_the_name_is_that_of_the_folder_however_it_is_given(tmp_path, monkeypatch):
    monkeypatch.chdir(write_run(tmp_path / "a"))
    assert read_run(".").name == "a"
    assert read_run(os.fspath(tmp_path / "a")).name == "a"


def test_no_warning_says_that_nothing_was_trained(tmp_path):
    train(tmp_path / "line")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_run(tmp_path / "line").status == "completed"
