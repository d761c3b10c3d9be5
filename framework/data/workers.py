"""Worker processes: what each does first, and how they end."""

from __future__ import annotations

import atexit
import ctypes
import faulthandler
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any
from weakref import WeakSet

from torch._C import _remove_worker_pids
from torch.utils.data import get_worker_info
from torch.utils.data._utils import worker as torch_worker

from framework.data.seeded import SeededDataset

PATIENCE_S = 1.0
"""How long workers may take to end by themselves, in seconds."""
_IGNORED = (signal.SIGINT, signal.SIGTERM)
_PR_SET_PDEATHSIG = 1
_OPEN: WeakSet[Any] = WeakSet()


class WorkerStart:
    """What a worker does before anything of the user's: it leaves signals to the main process, and dies with it.

    Schedulers and Ctrl-C signal the whole process group, and the main process still needs its workers to finish the step. SIGUSR2
    makes a worker write its stacks to stderr.

    Args:
        then: the user's `worker_init_fn`.
        context: of multiprocessing, with which the worker is started.
    """

    def __init__(self, then: Callable[[int], None] | None, context: Any) -> None:
        self._then = then
        self._parent = None if _method(context) == "forkserver" else os.getpid()  # the server is the parent, and dies with us
        self._follows = threading.current_thread() is threading.main_thread()  # Linux watches the thread that starts a worker

    def __call__(self, number: int) -> None:
        for ignored in _IGNORED:
            signal.signal(ignored, signal.SIG_IGN)
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _IGNORED)
        if sys.platform == "linux" and self._follows:  # elsewhere torch's own watchdog looks every few seconds
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if self._parent not in (None, os.getppid()):  # it died before that
                os._exit(1)
        if hasattr(faulthandler, "register"):
            faulthandler.register(signal.SIGUSR2, file=2, all_threads=True, chain=False)
        info = get_worker_info()
        assert info is not None
        if isinstance(info.dataset, SeededDataset):  # users reach for their own
            dataset = info.dataset.dataset
            torch_worker._worker_info = type(info)(id=info.id, num_workers=info.num_workers, seed=info.seed, dataset=dataset)
        if self._then is not None:
            self._then(number)


@contextmanager
def signals_held(context: Any) -> Iterator[None]:
    """Keeps signals waiting while workers are started, which would die of them until they ignore them.

    Args:
        context: of multiprocessing, with which they are started.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    if _method(context) != "fork":
        resource_tracker.ensure_running()  # its start would let the signals through
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _IGNORED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def started(batches: Any) -> None:
    """Notes a loader's iterator with workers, whose end must not wait for them.

    At the end of the program multiprocessing sends workers SIGTERM and waits, which one that ignores it would make it do for ever.
    """
    _OPEN.add(batches)


def end_workers(batches: Any) -> None:
    """Ends the workers of a loader's iterator: asks them to, waits briefly, kills.

    Torch's own way is to wait longer and send SIGTERM, which ours ignore.
    """
    workers = batches._workers
    if not _are_ours(workers) or (batches._shutdown and not any(worker.is_alive() for worker in workers)):
        return
    _disown(batches)
    timer = threading.Timer(PATIENCE_S, _kill, (workers,))
    timer.start()
    try:
        batches._shutdown_workers()
    finally:
        timer.cancel()
        timer.join()
        _kill(workers)
        for worker in workers:
            worker.join(PATIENCE_S)


def _method(context: Any) -> str:
    method: str = (context or multiprocessing).get_start_method()
    return method


def _are_ours(workers: Any) -> bool:
    """Tells whether this process started them: a forked one has the objects too."""
    return all(worker._parent_pid == os.getpid() for worker in workers)


def _disown(batches: Any) -> None:
    """Makes the death of the workers no error."""
    if batches._worker_pids_set:
        _remove_worker_pids(id(batches))
        batches._worker_pids_set = False


def _kill(workers: Any) -> None:
    for worker in workers:
        worker.kill()


@atexit.register
def _kill_all() -> None:
    for batches in list(_OPEN):
        if _are_ours(batches._workers):
            _disown(batches)
            batches._shutdown = True
            _kill(batches._workers)
