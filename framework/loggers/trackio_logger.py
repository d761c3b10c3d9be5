"""Numbers for trackio."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from framework.loggers.adapter import NOTHING, Adapter, configuration
from framework.loggers.base import RunFacts
from framework.loggers.optional import needed
from framework.loggers.run_ids import keep_id, kept_id


class TrackioLogger(Adapter):
    """Hands numbers to trackio, with the iteration as step: `trackio show` draws them. Needs the extra `trackio`.

    They stay on this machine unless `space_id` or `server_url` is given.

    A run that goes on goes on with its run there, whose name is kept in the run folder. Trackio takes nothing back, so what it was
    told already is not told again: after a change of settings the curves there keep what the process before has told. It writes
    twice a second; what it had not written when a process was killed is missing.

    Args:
        project: where the run is listed.
        name: of the run; None for one of trackio's.
        **options: of `trackio.init`, such as `group` or `space_id`.

    Raises:
        SettingError: the package is not there.

    Example:
        >>> from framework import TrackioLogger, TrainModule
        >>> def train(model: TrainModule, batches):
        ...     return model.fit(batches, max_epochs=1, loggers=[TrackioLogger("digits")])
    """

    def __init__(self, project: str, *, name: str | None = None, **options: Any) -> None:
        self._trackio = needed("trackio", "trackio", "TrackioLogger")
        self.project = project
        self._options = {"name": name, **options}
        self._name: str | None = None
        self._config: dict[str, Any] = {}  # of the fit, also for an evaluate after it
        self._run: Any = None

    def _open(self, facts: RunFacts) -> int:
        service = f"trackio/{self.project}"
        known = self._name if facts.verb == "evaluate" else None
        if facts.goes_on_from is not None:
            known = kept_id(facts.run_dir, service)
        if facts.verb == "fit" or known is None:
            self._config = configuration(facts)
        options = {"config": self._config, **self._options}
        if known is not None:
            options |= {"name": known, "resume": "allow"}
        self._run = self._trackio.init(project=self.project, **options)
        self._name = self._run.name
        goes_on = known is not None and self._run.id == kept_id(facts.run_dir, f"{service}/id")  # else it had written nothing yet
        keep_id(facts.run_dir, service, self._run.name)
        keep_id(facts.run_dir, f"{service}/id", self._run.id)
        return sys.maxsize if goes_on else NOTHING

    def _write(self, iteration: int, epoch: int, time_s: float, values: Mapping[str, float]) -> None:
        self._run.log({**values, "epoch": epoch}, step=iteration)

    def close(self, status: str, reason: str) -> None:
        self._run.finish()
