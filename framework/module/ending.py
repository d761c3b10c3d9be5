"""How a run ends: what its folder says of it, and how the process is left after a signal."""

from __future__ import annotations

from dataclasses import replace

from framework.distributed.group import Group
from framework.errors import CheckpointError
from framework.module.result import FitResult
from framework.module.resuming.run_folder import RunFolder
from framework.module.stopping.signals import Interrupted, StopSignals, is_interactive
from framework.module.stopping.slurm import requeue


def finish(folder: RunFolder, result: FitResult, group: Group | None) -> FitResult:
    """Waits for the last checkpoint and notes in the folder how the run ended."""
    folder.wait()
    if group is not None:
        group.barrier("end of the run")  # the checkpoint is there for all
    last = folder.store.last()
    if last is None and result.status != "interrupted":
        raise CheckpointError(
            f"The run is over, but {folder.store.folder} holds no checkpoint any more: somebody has removed them. The weights "
            "are in the module alone; its export(path) writes them."
        )
    state = result.state
    folder.write_status(
        status=result.status, reason=result.reason, iteration=state.iteration, epoch=state.epoch, metrics=result.metrics
    )
    folder.draw()
    return replace(result, best_checkpoint=folder.store.best(), last_checkpoint=last)


def leave(result: FitResult, signals: StopSignals, *, requeues: bool) -> FitResult:
    """Ends what a signal has asked to end: hands it on, and leaves with its exit code.

    Args:
        result: of the run.
        signals: of which one has come.
        requeues: the run is saved, and this process is the one to ask for the job to be put back into the queue.

    Raises:
        Interrupted: holding the result; in an interactive session Ctrl-C returns it instead.
    """
    assert signals.asked is not None
    if requeues and signals.asked.name == "SIGUSR1" and result.status == "interrupted":  # else there is nothing left to do
        requeue()
    signals.chain()
    if signals.asked.name == "SIGINT" and is_interactive():
        return result
    raise Interrupted(signals.asked, result)
