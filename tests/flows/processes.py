"""The parent's side of `killable.py`: starts it in a process and a session of its own, talks with it, ends it.

Most programs are forked from a process that has imported everything: a start takes milliseconds, and the first second of the
program is that of its run. From there on each is a program like any other, down to the end of its interpreter.
"""

import gc
import json
import os
import re
import selectors
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

TIMEOUT_S = 120
HERE = Path(__file__).parent
FILE_CALLS = ("make_folder", "create", "write", "sync", "close", "sync_folder", "rename", "remove_file", "remove_folder")
"""The calls of a save to the system, each a place that a program passes."""


class Ended(NamedTuple):
    """How a program ended: its exit code, minus the signal's number where one killed it, and all that it wrote."""

    code: int
    said: str
    errors: str

    def last(self, kind):
        """The number of the last place of a kind that it said; 0 without one."""
        return max(map(int, re.findall(rf"^{kind} (\d+)$", self.said, re.MULTILINE)), default=0)


class Program:
    """A running `killable.py`. Leaving its block kills it, if it still runs.

    Args:
        plan: what it does.
        fresh: start a new interpreter for it.
    """

    def __init__(self, plan, *, fresh=False):
        to_child, self._input = os.pipe()
        output, from_child = os.pipe()
        errors, errors_from_child = os.pipe()
        ends = to_child, from_child, errors_from_child
        text = json.dumps(plan)
        if fresh:
            self._start(text, ends)
        else:
            self.pid, self._wait = forks().start(text, ends)
        for end in ends:
            os.close(end)
        self._heard = {output: b"", errors: b""}
        self._output, self._errors = output, errors
        self._selector = selectors.DefaultSelector()
        for end in (output, errors):
            self._selector.register(end, selectors.EVENT_READ)
        self._ended = None

    def _start(self, text, ends):
        command = [sys.executable, HERE / "killable.py", text]
        streams = dict(zip(("stdin", "stdout", "stderr"), ends, strict=True))
        process = subprocess.Popen(command, **streams, start_new_session=True, env=_environment())
        self.pid, self._wait = process.pid, lambda: process.wait(TIMEOUT_S)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if self._ended is None:
            self.signal(signal.SIGKILL)
            self.end()

    def hear(self, text, *, errors=False):
        """Reads until it has said a line with this beginning, or written this text to its errors."""
        where = self._errors if errors else self._output
        sought = re.compile(re.escape(text).encode() if errors else rf"^{re.escape(text)}.*\n".encode(), re.MULTILINE)
        while not sought.search(self._heard[where]):
            assert self._read(TIMEOUT_S), f"it never said {text!r}: {self._text()}"
        return self

    def listen(self, seconds):
        """Reads what it says, for a time or until it ends."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and self._selector.get_map():
            self._read(left)
        return self

    def go(self):
        """Lets it go on where it waits."""
        os.write(self._input, b"x")

    def signal(self, number):
        with suppress(ProcessLookupError):  # it has just ended
            os.kill(self.pid, number)

    def signal_group(self, number):
        """Sends a signal to it and to its workers, as schedulers and terminals do."""
        os.killpg(self.pid, number)

    def end(self):
        """Waits for its end, and for that of its workers, which hold its output too."""
        while self._selector.get_map():
            assert self._read(TIMEOUT_S), f"it does not end: {self._text()}"
        code = self._wait()
        for end in (self._input, *self._heard):
            os.close(end)
        self._selector.close()
        self._ended = Ended(code, *(text.decode(errors="replace") for text in self._heard.values()))
        return self._ended

    def _read(self, timeout_s):
        """Reads what there is; returns False where nothing comes."""
        ready = self._selector.select(timeout_s)
        for key, _ in ready:
            text = os.read(key.fd, 1 << 16)
            self._heard[key.fd] += text
            if not text:
                self._selector.unregister(key.fd)
        return bool(ready)

    def _text(self):
        return "\n".join(text.decode(errors="replace")[-3000:] for text in self._heard.values())


def run(plan, **start):
    """Runs a program to its end."""
    with Program(plan, **start) as program:
        return program.end()


class Forks:
    """A process that forks programs, one at a time."""

    def __init__(self):
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel.settimeout(TIMEOUT_S)
        command = [sys.executable, "-c", f"import processes; processes.serve({theirs.fileno()})"]
        with theirs:
            self._process = subprocess.Popen(command, pass_fds=(theirs.fileno(),), env=_environment(), start_new_session=True)

    def start(self, text, ends):
        """Forks a program with these ends of pipes as its streams; returns its process number, and what waits for its end."""
        socket.send_fds(self._channel, [text.encode()], ends)
        return int(self._channel.recv(100)), lambda: int(self._channel.recv(100))

    def close(self):
        self._channel.close()
        self._process.wait(TIMEOUT_S)


@cache
def forks():
    """The process that forks for all tests; it ends with them, since its channel does."""
    return Forks()


def serve(descriptor):
    """Forks a program for each plan that comes; in each of these this returns, like a program's start."""
    import killable

    killable.Net().configure_optimizers()  # the first optimizer imports half of torch
    gc.freeze()  # none of this is looked at again in the forks
    channel = socket.socket(fileno=descriptor)
    while True:
        text, ends, *_ = socket.recv_fds(channel, 1 << 16, 3)
        if not text:
            return
        pid = os.fork()
        if pid == 0:
            break
        for end in ends:
            os.close(end)
        channel.send(str(pid).encode())
        channel.send(str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).encode())
    channel.close()
    os.setsid()
    for stream, end in enumerate(ends):
        os.dup2(end, stream)
        os.close(end)
    killable.main(json.loads(text))


def _environment():
    path = os.pathsep.join([str(HERE), *filter(None, sys.path)])
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
