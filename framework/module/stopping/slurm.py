"""A job of the Slurm scheduler, which may be put back into the queue."""

from __future__ import annotations

import os
import shutil
import subprocess

_TIMEOUT_S = 60


def in_job() -> bool:
    """Tells whether the process runs in a Slurm job.

    Example:
        >>> from framework.module.stopping.slurm import in_job
        >>> in_job()
        False
    """
    return bool(os.environ.get("SLURM_JOB_ID"))


def requeue() -> None:
    """Puts this job, or this task of a job array, back into the queue: `scontrol requeue <job>`.

    Raises:
        RuntimeError: this is no job, there is no `scontrol`, or it failed or did not answer.
    """
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    job = f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID")
    if not job:
        raise RuntimeError("Only a Slurm job can be put back into the queue, and SLURM_JOB_ID is not set. Start it by sbatch.")
    by_hand = f"Put it back into the queue by hand: scontrol requeue {job}"
    scontrol = shutil.which("scontrol")
    if scontrol is None:
        raise RuntimeError(f"Slurm job {job} was not put back into the queue: no scontrol in PATH. {by_hand}")
    command = [scontrol, "requeue", job]
    try:
        done = subprocess.run(command, check=False, capture_output=True, timeout=_TIMEOUT_S)  # noqa: S603  # Slurm's own words
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(
            f"Slurm job {job} may not be back in the queue: scontrol did not answer within {_TIMEOUT_S} s. {by_hand}"
        ) from error
    if done.returncode != 0:
        said = (done.stderr or done.stdout).decode(errors="replace").strip() or "nothing"
        raise RuntimeError(
            f"Slurm job {job} was not put back into the queue: scontrol returned {done.returncode} and said: {said}\n{by_hand}"
        )
