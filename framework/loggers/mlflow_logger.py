"""Numbers for MLflow."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import Any

from framework.loggers.adapter import NOTHING, Adapter, configuration, flat
from framework.loggers.base import RunFacts
from framework.loggers.optional import needed
from framework.loggers.run_ids import keep_id, kept_id

_AT_ONCE = 100  # parameters that MLflow takes in a call
_LONGEST = 6000  # characters of a parameter
_NOT_ALLOWED = re.compile(r"[^\w\-. :/]", re.ASCII)
_ENDINGS = {"completed": "FINISHED", "stopped": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}


class MLflowLogger(Adapter):
    """Hands numbers to MLflow, with the iteration as step. Needs the extra `mlflow`.

    Arguments and settings are parameters of the run. In names, characters that MLflow does not allow become "_". Each call waits
    until MLflow has taken the numbers.

    A run that goes on goes on with its run there, whose id is kept in the run folder. MLflow takes nothing back, so what it was
    told already is not told again: after a change of settings the curves there keep what the process before has told.

    Args:
        experiment: where the run is listed; made if it is not there.
        name: of the run; None for the name of the run folder, or one of MLflow's.
        tracking_uri: where MLflow keeps runs, such as "sqlite:///mlflow.db" or the address of a server; None for MLflow's own
            setting.

    Raises:
        SettingError: the package is not there.

    Example:
        >>> from framework import MLflowLogger, TrainModule
        >>> def train(model: TrainModule, batches):
        ...     return model.fit(batches, max_epochs=1, loggers=[MLflowLogger("digits", tracking_uri="sqlite:///mlflow.db")])
    """

    def __init__(self, experiment: str = "Default", *, name: str | None = None, tracking_uri: str | None = None) -> None:
        self._mlflow = needed("mlflow", "mlflow", "MLflowLogger")
        self._entities = needed("mlflow.entities", "mlflow", "MLflowLogger")
        self.experiment = experiment
        self.name = name
        self.tracking_uri = tracking_uri
        self._client: Any = None
        self._id: str | None = None

    def _open(self, facts: RunFacts) -> int:
        self._client = self._mlflow.MlflowClient(tracking_uri=self.tracking_uri)
        service = f"mlflow/{self.experiment}"
        known = self._id if facts.verb == "evaluate" else None
        if facts.goes_on_from is not None:
            known = kept_id(facts.run_dir, service)
        if known is not None:
            self._id = known
            self._client.update_run(known, status="RUNNING")
            return sys.maxsize
        found = self._client.get_experiment_by_name(self.experiment)
        experiment = self._client.create_experiment(self.experiment) if found is None else found.experiment_id
        name = self.name or (None if facts.run_dir is None else facts.run_dir.name or None)
        self._id = self._client.create_run(experiment, run_name=name).info.run_id
        keep_id(facts.run_dir, service, self._id)
        known_of_run = flat(configuration(facts)).items()
        params = [self._entities.Param(_allowed(each), str(value)[:_LONGEST]) for each, value in known_of_run]
        for start in range(0, len(params), _AT_ONCE):
            self._client.log_batch(self._id, params=params[start : start + _AT_ONCE])
        return NOTHING

    def _write(self, iteration: int, epoch: int, time_s: float, values: Mapping[str, float]) -> None:
        moment = int(time_s * 1000)
        metrics = [
            self._entities.Metric(_allowed(name), value, moment, iteration) for name, value in {**values, "epoch": epoch}.items()
        ]
        self._client.log_batch(self._id, metrics=metrics)

    def close(self, status: str, reason: str) -> None:
        if self._verb == "fit":
            tags = [self._entities.RunTag("status", status), self._entities.RunTag("reason", reason)]
            self._client.log_batch(self._id, tags=tags)
        self._client.set_terminated(self._id, status=_ENDINGS[status])


def _allowed(name: str) -> str:
    return _NOT_ALLOWED.sub("_", name)
