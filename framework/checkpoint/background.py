"""Saving while training goes on: the states are copied at once, and a thread writes the copies."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from framework.checkpoint.prepared import PreparedSave, prepare_save
from framework.checkpoint.store import CheckpointStore
from framework.errors import CheckpointError


class BackgroundSaver:
    """Saves to a store without waiting for the disk: `save` returns once everything is copied.

    One save is under way at a time; the next one waits for it. A save that fails is heard of at the next `save`, `wait` or `close`.
    The copies lie in the memory of the host (pinned, for tensors on CUDA) and are used again by the next save. A process that
    ends without `close` still finishes the save that is under way.

    Args:
        store: where to.

    Example:
        >>> import torch
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> from framework.checkpoint import BackgroundSaver, CheckpointStore
        >>> weight = torch.zeros(2)
        >>> with TemporaryDirectory() as folder:
        ...     store = CheckpointStore(Path(folder))
        ...     saver = BackgroundSaver(store)
        ...     saver.save(1, {"model": {"weight": weight}})
        ...     weight += 1  # goes on at once
        ...     path = saver.close()
        ...     store.newest().read("model")
        {'weight': tensor([0., 0.])}
    """

    def __init__(self, store: CheckpointStore) -> None:
        self._store = store
        self._writer = ThreadPoolExecutor(1, "checkpoint-writer")
        self._under_way: Future[Path] | None = None
        self._copies: dict[tuple[str, str], Tensor] = {}
        self._closed = False

    def save(self, step: int, parts: Mapping[str, Any], *, best: bool = False, facts: Any = None) -> None:
        """Begins to save; the arguments are those of `CheckpointStore.save`.

        Raises:
            CheckpointError: a state cannot be stored; or the save before failed: then this one has not begun.
        """
        if self._closed:
            raise CheckpointError(f"Step {step} cannot be saved: this BackgroundSaver is closed. Make another one.")
        self.wait()
        save = prepare_save(step, parts, best=best, facts=facts)
        if save.shards:
            raise CheckpointError(
                f"Step {step} holds {next(iter(save.shards))}, of which each process has a part, and such a save cannot be made in "
                "the background. Use CheckpointStore.save; with fit, async_save=False."
            )
        self._under_way = self._writer.submit(self._store.write, self._copy(save))

    def wait(self) -> Path | None:
        """Waits for the save that is under way and returns its folder; None where there is none.

        Raises:
            CheckpointError: it failed.
        """
        if self._under_way is None:
            return None
        wait([self._under_way])  # a Ctrl-C here leaves it under way
        done, self._under_way = self._under_way, None
        return done.result()

    def close(self) -> Path | None:
        """Waits as `wait` does, and ends the thread.

        Raises:
            CheckpointError: the save that was under way failed.
        """
        self._closed = True
        try:
            return self.wait()
        finally:
            self._writer.shutdown()
            self._copies = {}

    @torch.inference_mode(False)
    def _copy(self, save: PreparedSave) -> PreparedSave:
        """Returns the save with copies of its tensors, in the memory of the last copies where they fit."""
        copies: dict[tuple[str, str], Tensor] = {}
        done: dict[int, Tensor] = {}
        streams = set()
        for part, full in save.parts.items():
            for name, tensor in full.tensors.items():
                if id(tensor) not in done:
                    copy = self._copies.get((part, name))
                    if copy is None or copy.shape != tensor.shape or copy.dtype != tensor.dtype:
                        copy = torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu", pin_memory=tensor.is_cuda)
                    copy.copy_(tensor, non_blocking=tensor.is_cuda)
                    if tensor.is_cuda:
                        streams.add(torch.cuda.current_stream(tensor.device))
                    done[id(tensor)] = copy
                copies[part, name] = done[id(tensor)]
        for stream in streams:
            stream.synchronize()
        self._copies = copies
        parts = {
            part: full._replace(tensors={name: copies[part, name] for name in full.tensors}) for part, full in save.parts.items()
        }
        return save._replace(parts=parts)
