import errno
import os
import signal
import socket
import subprocess
import sys

import pytest
from children import Child, in_child

from framework import CheckpointError, ResumeError
from framework.checkpoint import lock
from framework.checkpoint.lock import FolderLock

pytestmark = pytest.mark.fault(31)


def test_a_folder_is_held_and_given_back(tmp_path):
    with FolderLock(tmp_path):
        assert (tmp_path / "run.lock").read_text() == f"process {os.getpid()} on {socket.gethostname()}"
    with FolderLock(tmp_path), FolderLock(tmp_path.parent):
        pass


def refused(folder, pid):
    words = rf"{folder} is in use by another run: process {pid} on {socket.gethostname()}\. Wait for it to end, or give this run "
    return pytest.raises(ResumeError, match=words)


def held_elsewhere(folder):
    """Says whether another process can not lock the folder."""

    def child(say):
        try:
            with FolderLock(folder):
                say("free")
        except ResumeError:
            say("held")

    return in_child(child) == "held\n"


def test_a_second_holder_in_the_process_is_refused_and_the_first_keeps_it(tmp_path):
    with FolderLock(tmp_path):
        for path in (tmp_path, tmp_path / ".." / tmp_path.name):
            with refused(path, os.getpid()), FolderLock(path):
                pass
        assert held_elsewhere(tmp_path)
    assert not held_elsewhere(tmp_path)


PROGRAM = """
import sys
from pathlib import Path
from framework.checkpoint import FolderLock
with FolderLock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("end", ["close", "kill"])
def test_a_second_process_is_refused_until_the_first_ends(tmp_path, end):
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdout.readline() == "held\n"
        with refused(tmp_path, first.pid), FolderLock(tmp_path):
            pass
        if end == "kill":
            first.send_signal(signal.SIGKILL)
        first.stdin.close()
        first.wait()
        with FolderLock(tmp_path):
            pass


def test_a_forked_process_does_not_hold_it(tmp_path):
    read, write = os.pipe()

    def holder(say):
        with FolderLock(tmp_path):
            worker = Child(lambda _: os.read(read, 1))  # lives on
            say(str(worker.pid))
            os._exit(0)

    first = Child(holder)
    worker = int(first.hear())
    first.reap()
    os.kill(worker, 0)
    with FolderLock(tmp_path):
        os.write(write, b"x")


def test_a_forked_process_may_not_take_it(tmp_path):
    with FolderLock(tmp_path):

        def child(say):
            with refused(tmp_path, os.getppid()), FolderLock(tmp_path):
                pass

        in_child(child)
        assert held_elsewhere(tmp_path)


def test_a_holder_that_has_not_said_its_number(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "_lock", lambda descriptor: False)
    with (
        pytest.raises(ResumeError, match="in use by another run: a process that has not said its number yet"),
        FolderLock(tmp_path),
    ):
        pass


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(
        CheckpointError, match=r"none cannot be locked for this run: .*No such file.* Give the run a folder that exists"
    ):
        FolderLock(tmp_path / "none").__enter__()


def test_a_file_system_without_locks(tmp_path, monkeypatch):
    import fcntl

    def lockf(*args):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", lockf)
    with pytest.raises(CheckpointError, match=r"cannot be locked for this run: .*No locks available.*file system that knows locks"):
        FolderLock(tmp_path).__enter__()
    monkeypatch.undo()
    with FolderLock(tmp_path):
        pass
