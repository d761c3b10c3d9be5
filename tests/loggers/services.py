"""Services that take numbers, for tests: stand-ins with the calls of the real packages, and the real ones where they are installed.

Each has `logger()`, which makes a logger for it, and `runs()`, which reads what it holds: by run, its numbers in their order.
"""

import os
import struct
import sys
from itertools import count
from types import ModuleType
from typing import NamedTuple

import pytest

from framework import MLflowLogger, TrackioLogger, WandbLogger

Numbers = dict[str, list[tuple[int, str, float]]]


# Weights & Biases


class WandbRun:
    """A run of the stand-in. A step is kept when a later one comes, or the run ends; steps before that are left out, as there."""

    def __init__(self, home, run_id, config):
        self._home, self._kept = home, home.kept.setdefault(run_id, {})
        self._step, self._open = max(self._kept, default=-1) + 1, {}
        self.id = run_id
        self.config = Settable(config)
        self.summary = Settable()
        self.ended = None

    def log(self, data, step=None, commit=None):
        assert step is not None
        if step > self._step:
            self._close_step()
            self._step = step
        if step == self._step:
            self._open.update(data)

    def finish(self, exit_code=None):
        self._close_step()
        self.ended, self._home.module.run = exit_code, None

    def _close_step(self):
        if self._open:
            self._kept[self._step], self._open = self._open, {}


class Settable(dict):
    """Settings, or the summary, of a run."""

    def update(self, d, allow_val_change=None):
        super().update(d)


class StandInWandb:
    def __init__(self, monkeypatch, folder):
        self.kept, self.calls, self._ids = {}, [], count(1)
        self.module = ModuleType("wandb")
        self.module.run, self.module.init = None, self.init
        monkeypatch.setitem(sys.modules, "wandb", self.module)

    def init(self, project=None, name=None, dir=None, id=None, config=None, mode=None, resume=None, tags=None):  # noqa: A002
        assert self.module.run is None
        self.calls.append({"project": project, "name": name, "dir": dir, "id": id, "mode": mode, "resume": resume, "tags": tags})
        self.module.run = WandbRun(self, id or f"run{next(self._ids)}", config)
        return self.module.run

    def logger(self):
        return WandbLogger("digits")

    def runs(self) -> Numbers:
        return {
            run: [(step, name, value) for step, values in steps.items() for name, value in values.items()]
            for run, steps in self.kept.items()
        }


class RealWandb:
    """Offline: the files that `wandb sync` would send are read."""

    def __init__(self, monkeypatch, folder):
        pytest.importorskip("wandb", reason="wandb is not installed; the stand-in is tested")
        monkeypatch.setenv("WANDB_SILENT", "true")
        monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
        self._folder = folder

    def logger(self):
        return WandbLogger("digits", mode="offline", dir=str(self._folder))

    def runs(self) -> Numbers:
        import wandb
        from wandb.proto.wandb_internal_pb2 import Record

        wandb.teardown()  # waits for the process that writes the files
        found: dict[str, dict[tuple[int, str], float]] = {}
        files = sorted(self._folder.rglob("*.wandb"), key=lambda path: path.stat().st_ctime_ns)
        for path in files:
            for text in records(path.read_bytes()):
                record = Record()
                record.ParseFromString(text)
                items = {"/".join(each.nested_key) or each.key: float(each.value_json) for each in record.history.item}
                step = record.history.step.num
                numbers = found.setdefault(path.stem.removeprefix("run-"), {})
                numbers.update({(step, name): value for name, value in items.items() if not name.startswith("_")})
        return {run: [(*place, value) for place, value in sorted(numbers.items())] for run, numbers in found.items()}


def records(text):
    """Yields the records of a file of W&B: blocks of 32 KiB as LevelDB has them, after a header of 7 bytes."""
    position, parts = 7, b""
    while position + 7 <= len(text):
        if 32768 - position % 32768 < 7:
            position += 32768 - position % 32768
            continue
        _, length, kind = struct.unpack_from("<IHB", text, position)
        parts += text[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield parts
            parts = b""


# MLflow


class Metric(NamedTuple):
    key: str
    value: float
    timestamp: int
    step: int


class Param(NamedTuple):
    key: str
    value: str


RunTag = Param


class Found(NamedTuple):
    """What MLflow answers with: something of the one or the other."""

    experiment_id: str | None = None
    run_id: str | None = None
    info: "Found | None" = None


class StandInMlflow:
    def __init__(self, monkeypatch, folder):
        self.kept, self.params, self.tags, self.status, self.experiments = {}, {}, {}, {}, {"Default": "0"}
        self.names, self.uris, self.batches = [], [], []
        module, entities = ModuleType("mlflow"), ModuleType("mlflow.entities")
        entities.Metric, entities.Param, entities.RunTag = Metric, Param, RunTag
        module.MlflowClient, module.entities = self.client, entities
        monkeypatch.setitem(sys.modules, "mlflow", module)
        monkeypatch.setitem(sys.modules, "mlflow.entities", entities)

    def client(self, tracking_uri=None):
        self.uris.append(tracking_uri)
        return self

    def get_experiment_by_name(self, name):
        return Found(experiment_id=self.experiments[name]) if name in self.experiments else None

    def create_experiment(self, name):
        assert name not in self.experiments
        return self.experiments.setdefault(name, str(len(self.experiments)))

    def create_run(self, experiment_id, run_name=None):
        run = f"run{len(self.kept) + 1}"
        self.kept[run], self.params[run], self.tags[run], self.status[run] = [], {}, {}, "RUNNING"
        self.names.append((experiment_id, run_name))
        return Found(info=Found(run_id=run))

    def update_run(self, run_id, status=None):
        self.status[run_id] = status

    def log_batch(self, run_id, metrics=(), params=(), tags=()):
        self.batches.append(len(params))
        assert self.status[run_id] == "RUNNING"
        assert len(params) <= 100
        assert all(each.key not in self.params[run_id] for each in params)
        self.kept[run_id] += [(each.step, each.key, each.value) for each in metrics]
        self.params[run_id].update(params)
        self.tags[run_id].update(tags)

    def set_terminated(self, run_id, status=None):
        self.status[run_id] = status

    def logger(self):
        return MLflowLogger("digits")

    def runs(self) -> Numbers:
        return self.kept


class RealMlflow:
    """The store of files, which MLflow wants to be asked for by name."""

    def __init__(self, monkeypatch, folder):
        monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        pytest.importorskip("mlflow", reason="mlflow is not installed; the stand-in is tested")
        self._uri = f"file:{folder / 'mlruns'}"

    def logger(self):
        return MLflowLogger("digits", tracking_uri=self._uri)

    def runs(self) -> Numbers:
        from mlflow import MlflowClient

        client, found = MlflowClient(tracking_uri=self._uri), {}
        experiment = client.get_experiment_by_name("digits")
        for run in sorted(client.search_runs([experiment.experiment_id]), key=lambda run: run.info.start_time):
            metrics = [each for name in run.data.metrics for each in client.get_metric_history(run.info.run_id, name)]
            found[run.info.run_id] = [(each.step, each.key, each.value) for each in metrics]
        return found


# trackio


class TrackioRun(NamedTuple):
    name: str
    id: str
    kept: list

    def log(self, metrics, step=None):
        self.kept.extend((step, name, value) for name, value in metrics.items())

    def finish(self):
        pass


class StandInTrackio:
    def __init__(self, monkeypatch, folder):
        self.kept, self.ids, self.calls = {}, {}, []
        module = ModuleType("trackio")
        module.init = self.init
        monkeypatch.setitem(sys.modules, "trackio", module)

    def init(self, project, name=None, group=None, config=None, resume="never"):
        self.calls.append({"project": project, "name": name, "group": group, "config": config, "resume": resume})
        assert resume in ("never", "allow")
        if name not in self.kept:
            name = name or f"run{len(self.kept) + 1}"
            self.kept[name], self.ids[name] = [], f"id{len(self.calls)}"
        return TrackioRun(name, self.ids[name], self.kept[name])

    def logger(self):
        return TrackioLogger("digits")

    def runs(self) -> Numbers:
        return self.kept


class RealTrackio:
    """Its database in a folder; trackio looks where it is when it is imported."""

    def __init__(self, monkeypatch, folder):
        if "trackio" not in sys.modules:
            os.environ["TRACKIO_DIR"] = str(folder.parent / "trackio")
        pytest.importorskip("trackio", reason="trackio is not installed; the stand-in is tested")
        self.project = folder.name.replace("_", "-")

    def logger(self):
        return TrackioLogger(self.project)

    def runs(self) -> Numbers:
        from trackio.sqlite_storage import SQLiteStorage

        made = sorted(SQLiteStorage.get_runs(self.project))
        return {
            run: [
                (line["step"], name, value)
                for line in SQLiteStorage.get_logs(self.project, run)
                for name, value in line.items()
                if name not in ("step", "timestamp")
            ]
            for run in made
        }


STAND_INS = {"wandb": StandInWandb, "mlflow": StandInMlflow, "trackio": StandInTrackio}
REAL = {"wandb": RealWandb, "mlflow": RealMlflow, "trackio": RealTrackio}
