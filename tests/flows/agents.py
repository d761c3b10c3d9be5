"""torchrun's agent in a process forked from the test, whose workers are forked as well: what `torchrun` does, in milliseconds."""

import multiprocessing
import os
import signal
import sys
from pathlib import Path

from torch.distributed.launcher.api import LaunchConfig, elastic_launch

TIMEOUT_S = 60


class Agent:
    """A running agent, with a process group of its own. Leaving its block kills it and its workers.

    Args:
        size: how many workers.
        function: what each runs, with its arguments.
        folder: for what they write to standard error.
        max_restarts: how often they may be started again.
        host: of several, on which it and its workers run; see `hosts.py`.

    Attributes:
        pid: of the agent.
    """

    def __init__(self, size, function, *arguments, folder, max_restarts=0, host=None):
        self._output, given = os.pipe()
        self._folder = Path(folder)
        self._folder.mkdir(exist_ok=True)
        context = multiprocessing.get_context("fork")
        self._process = context.Process(target=_launch, args=(size, function, arguments, self._folder, max_restarts, host, given))
        self._process.start()
        os.close(given)
        self.pid = self._process.pid

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._process.kill()
        self._process.join()
        for number in self.workers():
            try:
                os.kill(number, signal.SIGKILL)
            except ProcessLookupError:
                continue
        os.close(self._output)

    def workers(self):
        """The processes that were ever started."""
        return [int(path.suffix[1:]) for path in self._folder.glob("stderr.*.*")]

    def wait_for(self, word):
        """Waits until a worker says a word."""
        said = b""
        while word.encode() not in said:
            more = os.read(self._output, 1000)
            assert more, self.errors()
            said += more

    def end(self):
        """Waits for its end and returns its exit code."""
        self._process.join(TIMEOUT_S)
        assert self._process.exitcode is not None, self.errors()
        assert not any(Path(f"/proc/{number}").exists() for number in self.workers())
        return self._process.exitcode

    def errors(self):
        """What each worker has written to standard error, by rank, those of a restart after the first."""
        paths = sorted(self._folder.glob("stderr.*.*"), key=lambda path: path.stat().st_ctime_ns)
        texts = {}
        for path in paths:
            texts.setdefault(int(path.suffixes[-2][1:]), []).append(path.read_text())
        return [texts[rank] for rank in sorted(texts)]


def say(word):
    """Tells the test where a worker is."""
    os.write(int(os.environ["SAYS"]), word.encode())


def _launch(size, function, arguments, folder, max_restarts, host, output):
    os.setsid()
    os.environ |= {"SAYS": str(output), "GLOO_SOCKET_IFNAME": "lo" if host is None else host.interface}
    if host is not None:
        host.enter()
    with (folder / "agent.txt").open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115  # pytest has put its own there
    config = LaunchConfig(
        min_nodes=1 if host is None else host.needs,
        max_nodes=1 if host is None else host.of,
        nproc_per_node=size,
        rdzv_backend="c10d",
        rdzv_endpoint="127.0.0.1:0" if host is None else f"{host.first}:29400",
        rdzv_configs={
            "timeout": TIMEOUT_S,
            **({} if host is None else {"is_host": host.address == host.first, "last_call_timeout": 2}),
        },
        local_addr=None if host is None else host.address,
        run_id="test",
        max_restarts=max_restarts,
        monitor_interval=0.05,
        start_method="fork",
    )
    elastic_launch(config, _work)(function, arguments, str(folder))


def _work(function, arguments, folder):
    rank = int(os.environ["RANK"])
    with Path(folder, f"stderr.{rank}.{os.getpid()}").open("w") as file:
        os.dup2(file.fileno(), 2)
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115  # as above
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the agent's own, and pytest's
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return function(rank, *arguments)
