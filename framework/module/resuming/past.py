"""What there is of a run in its folder when `fit` begins, and what `resume` makes of it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

from framework.checkpoint.folder import Checkpoint
from framework.distributed.group import Group
from framework.engine.events import Events
from framework.engine.state import State
from framework.errors import CheckpointError, RankError, ResumeError
from framework.metrics.recorder import Point
from framework.module.result import FitResult
from framework.module.resuming.run_folder import RunFolder, origin_of, start_from
from framework.module.settings import RESUME, FitSettings

LIMITS = ("max_epochs", "max_iters")
_PARTS = ("model", "optimizer", "handlers", "run")
_OF_RUN = {"progress": dict, "random": dict, "seed": int, "module": dict, "schedulers": list, "course": dict, "setup": dict}
_OVER = ("completed", "stopped")


@dataclass(frozen=True, slots=True)
class Past:
    """What a run goes on from.

    Attributes:
        checkpoint: the newest whole one.
        parts: what it holds, until it is released.
        result: of a run that is over and that these settings do not prolong; None for a run that goes on.
    """

    checkpoint: Checkpoint
    parts: dict[str, Any]
    result: FitResult | None = None

    @property
    def after(self) -> str | None:
        """The event after which the run goes on; None for its beginning."""
        after: str | None = self.parts["run"]["progress"]["after"]
        return after

    @property
    def iteration(self) -> int:
        """The iteration from which the run goes on."""
        iteration: int = self.parts["run"]["progress"]["iteration"]
        return iteration

    @property
    def seed(self) -> int:
        """The seed of the run."""
        seed: int = self.parts["run"]["seed"]
        return seed

    def release(self) -> None:
        """Lets go of what the checkpoint holds, once it is put back: a second copy of all weights would stay for the run."""
        self.parts.clear()

    def prolonged_by(self, settings: FitSettings) -> bool:
        """Tells whether the limits are others than those of the run."""
        limits: dict[str, Any] = self.checkpoint.facts["limits"]
        return any(getattr(settings, name) != limits[name] for name in LIMITS)


def open_past(
    folder: RunFolder,
    settings: FitSettings,
    refuse: Callable[[Past], None] | None = None,
    group: Group | None = None,
    mesh: Any = None,
) -> Past | None:
    """Returns what the run goes on from; None where it starts.

    Args:
        folder, settings: of the run.
        refuse: raises where the result of a run that is over is not to be returned.
        group: the processes of the run, which go on from the same checkpoint; None for one.
        mesh: of the devices that have a part of the weights each; None where each process has all of them.

    Raises:
        ResumeError: `resume` does not allow what is there, or asks for what is not.
        CheckpointError: all checkpoints are damaged.
        RankError: the ranks see different runs in the folder.
    """
    with warnings.catch_warnings() if group is not None and not group.is_main else nullcontext():
        if group is not None and not group.is_main:
            warnings.simplefilter("ignore")  # rank 0 tells of what is damaged
        past = _look(folder, settings, refuse, mesh)
    if group is not None:
        _refuse_other_pasts(group, folder, past)
    if past is None:
        folder.curves.cut(0)
    return past


def _refuse_other_pasts(group: Group, folder: RunFolder, past: Past | None) -> None:
    over = "" if past is None or past.result is None else " of a run that is over"
    found = group.exchange("the run in the folder", "no checkpoint" if past is None else f"{past.checkpoint.path.name}{over}")
    for rank, other in enumerate(found):
        if other != found[0]:
            raise RankError(
                f"Rank {rank} finds {other} in {folder.path}, and rank 0 finds {found[0]}. Give a run_dir on a file system that "
                "all machines of the run share."
            )


def _look(folder: RunFolder, settings: FitSettings, refuse: Callable[[Past], None] | None, mesh: Any) -> Past | None:
    resume, status = settings.resume, folder.status()
    origin = None if status is None else status.get("origin")
    folder.origin = origin if isinstance(origin, str) else None
    if resume == "never" and (status is not None or folder.store.checkpoints()):
        raise ResumeError(
            f"resume='never': {folder.path} holds a run, which stays as it is. Give another run_dir, or "
            "resume='auto' to go on with it."
        )
    if status is not None and status["status"] in _OVER and not folder.store.checkpoints():
        raise ResumeError(
            f"The run in {folder.path} is over ({status['reason']}), but its checkpoints are gone, so it cannot go on. Give "
            "another run_dir to start a new run; what is left of this one stays as it is."
        )
    if resume not in RESUME and origin_of(resume) not in (folder.origin, origin_of(folder.path)):
        return _past(start_from(folder, resume), mesh)
    checkpoint = folder.store.newest()
    if checkpoint is None and folder.origin is not None:
        return _past(start_from(folder, folder.origin), mesh)  # it was killed before its first checkpoint
    if checkpoint is None:
        if resume == "must":
            raise ResumeError(
                f"resume='must': there is no run with a checkpoint in {folder.path}. Look at run_dir, or leave resume "
                "out to start one."
            )
        return None
    past = _past(checkpoint, mesh)
    if status is None or status["status"] not in _OVER or _goes_on(past, status, settings):
        return past
    if refuse is not None:
        refuse(past)
    return replace(past, result=_stored_result(folder, status))


def tell(past: Past) -> str:
    """Returns the line that says from where a run goes on."""
    progress = past.parts["run"]["progress"]
    return f"Going on from iteration {progress['iteration']} (epoch {progress['epoch']}): {past.checkpoint.path}"


def _past(checkpoint: Checkpoint, mesh: Any) -> Past:
    parts = {part: checkpoint.read(part, mesh) for part in checkpoint.parts}
    run: Any = parts.get("run")
    facts = checkpoint.facts
    wrong = [part for part in _PARTS if not isinstance(parts.get(part), dict)]
    wrong = wrong or [f"run.{name}" for name, kind in _OF_RUN.items() if not isinstance(run.get(name), kind)]
    if not wrong and not (isinstance(facts, dict) and isinstance(facts.get("limits"), dict)):
        wrong = ["facts.limits"]
    if wrong or run["progress"].get("after") not in (None, *Events):
        raise CheckpointError(
            f"{checkpoint.path} is no checkpoint that fit has written: it has no {(wrong or ['run.progress.after'])[0]} as fit "
            "writes it. Give the run_dir of fit, or remove this checkpoint."
        )
    return Past(checkpoint, parts)


def _goes_on(past: Past, status: dict[str, Any], settings: FitSettings) -> bool:
    """Tells whether a run that is over goes on, since a limit was raised that has not been reached yet."""
    progress = past.parts["run"]["progress"]
    inside = progress["after"] != Events.EPOCH_COMPLETED  # the epoch at hand is not over then
    reached = {"max_epochs": progress["epoch"] - inside, "max_iters": progress["iteration"]}
    if status["status"] == "stopped" and not past.prolonged_by(settings):
        return False
    return all(getattr(settings, name) is None or getattr(settings, name) > reached[name] for name in LIMITS)


def _stored_result(folder: RunFolder, status: dict[str, Any]) -> FitResult:
    warnings.warn(
        f"Nothing was trained: the run in {folder.path} is over ({status['reason']}). Raise max_epochs or max_iters to train it "
        "further, or give another run_dir to start a new one.",
        UserWarning,
        stacklevel=7,
    )
    series, history = folder.curves.read()
    state = State(iteration=status["iteration"], epoch=status["epoch"], metrics=status["metrics"])
    return FitResult(
        status["status"],
        status["reason"],
        state,
        dict(status["metrics"]),
        history,
        {name: [Point(*point) for point in points] for name, points in series.items()},
        best_checkpoint=folder.store.best(),
        last_checkpoint=folder.store.last(),
    )
