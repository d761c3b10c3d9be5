"""Parts of a test that run in another process."""

import os
import signal
import sys
import traceback
import warnings
from contextlib import contextmanager
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("processes are forked here", allow_module_level=True)

FAILED = 70


class Child:
    """A forked process that calls `function(say)`; it ends with 0, or with FAILED where the function raises."""

    def __init__(self, function):
        self._read, write = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of threads, of which torch has some
            self.pid = os.fork()
        if self.pid == 0:
            code = FAILED
            try:
                os.close(self._read)
                function(lambda text: os.write(write, f"{text}\n".encode()))
                code = 0
            except BaseException:  # noqa: BLE001 # told to the parent
                os.write(write, traceback.format_exc().encode())
            finally:
                os._exit(code)
        os.close(write)
        self._lines = os.fdopen(self._read)

    def hear(self):
        """Waits for a line, and returns it; nothing where the process is over."""
        return self._lines.readline().rstrip("\n")

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)

    def reap(self):
        """Waits for the end; what was said may be lost."""
        self._lines.close()
        os.waitpid(self.pid, 0)

    def end(self):
        """Waits for the end and returns the exit code and all that was said and not yet heard."""
        text = self._lines.read()
        self._lines.close()
        _, status = os.waitpid(self.pid, 0)
        return os.waitstatus_to_exitcode(status), text


def in_child(function):
    """Runs `function(say)` in a forked process to its end; returns what was said."""
    code, text = Child(function).end()
    assert code == 0, text
    return text


@contextmanager
def as_nobody(folder: Path):
    """In a child: nothing in `folder` may be written, also where the tests run as root."""
    folder.chmod(0o555)
    if os.geteuid() == 0:
        os.seteuid(65534)
    yield
