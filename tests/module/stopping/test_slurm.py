import pytest

from framework.module.stopping import slurm
from framework.module.stopping.slurm import in_job, requeue

NAMES = ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID")


@pytest.fixture(autouse=True)
def no_job(monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def scontrol(tmp_path, monkeypatch):
    """Puts a script in the place of scontrol; returns the file to which it writes its arguments, a line a call."""

    def install(*lines):
        script, calls = tmp_path / "scontrol", tmp_path / "calls"
        script.write_text("\n".join(["#!/bin/sh", f'echo "$@" >> {calls}', *lines]))
        script.chmod(0o700)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
        return calls

    return install


def test_a_job_has_a_number(monkeypatch):
    assert not in_job()
    monkeypatch.setenv("SLURM_JOB_ID", "")
    assert not in_job()
    monkeypatch.setenv("SLURM_JOB_ID", "41")
    assert in_job()


@pytest.mark.fault(13)
@pytest.mark.parametrize(("values", "job"), [(("41",), "41"), (("41", "40", "7"), "40_7"), (("41", "40"), "41")])
def test_the_job_is_put_back_into_the_queue_once(monkeypatch, scontrol, values, job):
    for name, value in zip(NAMES, values, strict=False):
        monkeypatch.setenv(name, value)
    calls = scontrol()
    requeue()
    assert calls.read_text() == f"requeue {job}\n"


@pytest.mark.parametrize(
    ("lines", "said"), [(["echo 'Invalid job id' >&2"], "Invalid job id"), (["echo 'No.'"], r"No\."), ([], "nothing")]
)
def test_a_failure_is_an_error(monkeypatch, scontrol, lines, said):
    monkeypatch.setenv("SLURM_JOB_ID", "41")
    calls = scontrol(*lines, "exit 3")
    with pytest.raises(
        RuntimeError, match=rf"job 41 was not put back .* returned 3 and said: {said}\nPut .* by hand: scontrol requeue 41$"
    ):
        requeue()
    assert calls.read_text() == "requeue 41\n"


def test_no_answer_is_an_error(monkeypatch, scontrol):
    monkeypatch.setenv("SLURM_JOB_ID", "41")
    monkeypatch.setattr(slurm, "_TIMEOUT_S", 0.5)
    scontrol("exec tail -f /dev/null")
    with pytest.raises(
        RuntimeError, match=r"job 41 may not be back in the queue: scontrol did not answer within 0\.5 s\. Put it back"
    ):
        requeue()


def test_without_scontrol_it_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setenv("SLURM_JOB_ID", "41")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match=r"job 41 was not put back into the queue: no scontrol in PATH\. Put it back"):
        requeue()


def test_outside_a_job_it_is_an_error():
    with pytest.raises(RuntimeError, match=r"Only a Slurm job .* SLURM_JOB_ID is not set\. Start it by sbatch"):
        requeue()
