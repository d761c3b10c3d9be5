"""Batches that arrive on the device as they are fetched."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from framework.backends.tree import map_tensors


class Moved:
    """An iterable whose batches are on the device.

    On CUDA each copy runs on a stream of its own, beside the kernels of the step before: the program is ahead of the device, so the
    copy of the next batch overlaps with the step without fetching anything early. A batch is copied once.

    Args:
        data: batches.
        device: where they go.
        move: copies one batch there.
    """

    def __init__(self, data: Iterable[Any], device: torch.device, move: Callable[[Any], Any]) -> None:
        self.data = data
        self._move = _CopyBeside(device, move) if device.type == "cuda" else move

    def __iter__(self) -> Iterator[Any]:
        return map(self._move, self.data)


class _CopyBeside:
    """Copies batches on a CUDA stream of its own; the stream of the steps waits for each copy, and for nothing else."""

    def __init__(self, device: torch.device, move: Callable[[Any], Any]) -> None:
        self._device = device
        self._move = move
        self._beside = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._hidden = False  # batches hold memory that cannot be marked: sparse or nested, or in objects that move themselves

    def __call__(self, batch: Any) -> Any:
        steps = torch.cuda.current_stream(self._device)
        if self._hidden:
            self._beside.wait_stream(steps)  # their memory may be in use until then
        with torch.cuda.stream(self._beside):
            moved = self._move(batch)
        steps.wait_stream(self._beside)
        items: list[Any] = []
        map_tensors(moved, items.append)
        for item in items:
            if isinstance(item, Tensor) and item.layout is torch.strided and not item.is_nested:
                item.record_stream(steps)  # so that its memory is not given away before the step has used it
            else:
                self._hidden = True
        return moved
