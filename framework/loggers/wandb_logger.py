"""Numbers for Weights & Biases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from framework.loggers.adapter import NOTHING, Adapter, configuration
from framework.loggers.base import RunFacts
from framework.loggers.optional import needed
from framework.loggers.run_ids import keep_id, kept_id


class WandbLogger(Adapter):
    """Hands numbers to Weights & Biases, with the iteration as step. Needs the extra `wandb`.

    `mode="offline"` needs no network: `wandb sync` sends the files later. A run that your program, or a sweep, has begun with
    `wandb.init` is used as it is and left open.

    A run that goes on goes on with its run there, whose id is kept in the run folder. What came after the checkpoint is told again,
    of which W&B leaves out the steps that it has: after a change of settings the curves there keep what the process before has
    told. Offline, each process writes files of its own under the one id, whose steps may overlap, in blocks of 32 KiB: the last
    block is missing where a process was killed. What `evaluate` adds to a run that was closed has a step of its own, after the
    last.

    Args:
        project: where the run is listed; None for W&B's own default.
        name: of the run; None for one of W&B's.
        **options: of `wandb.init`, such as `mode="offline"`, `entity`, `group`, `tags`; `dir` is the run folder if there is one.

    Raises:
        SettingError: the package is not there.

    Example:
        >>> from framework import TrainModule, WandbLogger
        >>> def train(model: TrainModule, batches):
        ...     return model.fit(batches, max_epochs=1, loggers=[WandbLogger("digits", mode="offline")])
    """

    def __init__(self, project: str | None = None, *, name: str | None = None, **options: Any) -> None:
        self._wandb = needed("wandb", "wandb", "WandbLogger")
        self._options = {"project": project, "name": name, **options}
        self._id: str | None = None
        self._folder: str | None = None  # this and the next: of the fit, also for an evaluate after it
        self._config: dict[str, Any] = {}
        self._run: Any = None
        self._ours = True
        self._last = -1  # the newest step
        self._next = 0  # those before are closed

    def _open(self, facts: RunFacts) -> int:
        service = f"wandb/{self._options['project']}"
        known = self._id if facts.verb == "evaluate" else None
        if facts.goes_on_from is not None:
            known = kept_id(facts.run_dir, service)
        if facts.verb == "fit" or known is None:
            self._folder = None if facts.run_dir is None else str(facts.run_dir)
            self._config, self._last = configuration(facts), -1
        self._ours = self._wandb.run is None
        if self._ours:
            options = {"config": self._config, "dir": self._folder, **self._options}
            if known is not None:
                options |= {"id": known, "resume": "allow"}
            self._run = self._wandb.init(**options)
        else:
            self._run = self._wandb.run
            self._run.config.update(self._config, allow_val_change=True)
        self._next = self._next if self._ours and facts.verb == "evaluate" else 0
        self._id = self._run.id
        keep_id(facts.run_dir, service, self._run.id)
        return NOTHING  # it knows itself what it has: more than was written, where a process was killed

    def _write(self, iteration: int, epoch: int, time_s: float, values: Mapping[str, float]) -> None:
        step = max(iteration, self._next)
        self._run.log({**values, "epoch": epoch}, step=step)
        self._last = step

    def close(self, status: str, reason: str) -> None:
        if self._verb == "fit":
            self._run.summary.update({"status": status, "reason": reason})
        if self._ours:
            self._next = self._last + 1
            self._run.finish(exit_code=int(status == "failed"))
