"""Processes that torchrun could have started, forked from the test."""

from __future__ import annotations

import atexit
import faulthandler
import gc
import multiprocessing
import os
import pickle
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from multiprocessing.connection import wait
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any

from torch.distributed import TCPStore

OTHERS_S = 5.0  # what the other ranks have to end, once one has failed


@dataclass
class Ended:
    """How one rank has ended.

    Attributes:
        code: its exit code; -N where signal N killed it.
        stderr: all that it wrote there.
        returned: what the function returned.
        error: the traceback of what it raised, as text.
    """

    code: int
    stderr: str
    returned: Any
    error: str | None


def on_ranks(size: int, function: Callable[..., Any], *args: Any, timeout_s: float = 60) -> list[Any]:
    """Runs `function(rank, *args)` in `size` forked processes that find themselves started by torchrun; returns what each returned.

    What one raises is raised here as text, with its rank. After `timeout_s` seconds all of them are killed.
    """
    ended = run_ranks(size, function, *args, timeout_s=timeout_s, stop_at_failure=True)
    failed = [rank for rank, each in enumerate(ended) if each.error is not None or each.code != 0]
    if failed:
        told = "\n".join(f"rank {rank} ended with {ended[rank].code}:\n{ended[rank].error or ''}" for rank in failed)
        raise AssertionError(told + "".join(each.stderr for each in ended))
    return [each.returned for each in ended]


def run_ranks(
    size: int, function: Callable[..., Any], *args: Any, timeout_s: float = 60, agent: bool = True, stop_at_failure: bool = False
) -> list[Ended]:
    """As `on_ranks`, for processes that are to fail: returns how each ended.

    Args:
        agent: the store lives in the process of the test, as in torchrun's; else in that of rank 0.
        stop_at_failure: where one has failed, kill those that are still there after `OTHERS_S` seconds.
    """
    context = multiprocessing.get_context("fork")
    with TemporaryDirectory() as folder:
        texts = [Path(folder) / f"{rank}.txt" for rank in range(size)]
        answers = [Path(folder) / f"{rank}.pickle" for rank in range(size)]
        pipes = [context.Pipe(duplex=False) for _ in range(size)]
        processes = [
            context.Process(target=_run, args=(rank, size, pipes[rank][0], agent, texts[rank], answers[rank], function, args))
            for rank in range(size)
        ]
        try:
            for process in processes:
                process.start()
            store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # now: its thread may not run at a fork
            port = store.port
            if not agent:
                del store  # its port is free again
            for _, writer in pipes:
                writer.send(port)
            _await_ends(processes, texts, timeout_s, stop_at_failure)
            return [
                Ended(process.exitcode, text.read_text(), *(pickle.loads(answer.read_bytes()) if answer.exists() else (None, None)))
                for process, text, answer in zip(processes, texts, answers, strict=True)
            ]
        finally:
            for process in processes:
                if process.pid is not None:
                    process.kill()
                    process.join()
            for connection in chain(*pipes):
                connection.close()


def _await_ends(processes: list[Any], texts: list[Path], timeout_s: float, stop_at_failure: bool) -> None:
    deadline, failed = monotonic() + timeout_s, False
    while alive := [process for process in processes if process.is_alive()]:
        if stop_at_failure and not failed and any(process.exitcode for process in processes if process not in alive):
            failed, deadline = True, min(deadline, monotonic() + OTHERS_S)
        if not wait([process.sentinel for process in alive], max(0, deadline - monotonic())):
            hung = [processes.index(process) for process in alive]
            for process in alive:
                os.kill(process.pid, signal.SIGUSR1)
                process.join(1)
                process.kill()
                process.join()
            if not failed:
                stacks = "\n".join(f"rank {rank}:\n{texts[rank].read_text()}" for rank in hung)
                raise AssertionError(f"ranks {hung} were still there after {timeout_s:g} s\n{stacks}")
            return


def _run(
    rank: int, size: int, port: Any, agent: bool, stderr: Path, answer: Path, function: Callable[..., Any], args: tuple[Any, ...]
) -> None:
    gc.freeze()  # what the test has left, such as an older store, ends threads that are not in this process, and waits for ever
    os.environ |= {
        "RANK": str(rank),
        "WORLD_SIZE": str(size),
        "LOCAL_RANK": str(rank),
        "LOCAL_WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port.recv()),
        "TORCHELASTIC_RESTART_COUNT": "0",
        "TORCHELASTIC_USE_AGENT_STORE": str(agent),
        "GLOO_SOCKET_IFNAME": "lo",
    }
    with stderr.open("w") as file:
        os.dup2(file.fileno(), 2)
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115  # pytest has put its own there
    signal.signal(signal.SIGINT, signal.default_int_handler)
    faulthandler.register(signal.SIGUSR1, file=2)  # where it hangs
    atexit._clear()  # of the test
    try:
        returned = function(rank, *args)
    except BaseException as error:
        answer.write_bytes(pickle.dumps((None, "".join(traceback.format_exception(error)))))
        raise
    finally:
        atexit._run_exitfuncs()  # as at the end of a program; one that is forked leaves them out
    answer.write_bytes(pickle.dumps((returned, None)))
