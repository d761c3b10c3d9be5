"""A block of training that leaves everything as it was: the module, what trains it, the data, the random streams."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import torch

from framework.backends.base import Backend
from framework.data.base import Ordered
from framework.module.trial.put_back import PutBack, generator_state
from framework.seeding import random_state, set_random_state

if TYPE_CHECKING:
    from framework.module.train_module import TrainModule


@contextmanager
def without_trace(module: TrainModule, backend: Backend, data: Iterable[Any], handlers: Iterable[Any] = ()) -> Iterator[None]:
    """Puts everything back to as it is now when the block ends.

    Put back are the module (weights, gradients, buffers, attributes, extra state, modes, device), optimizers and schedulers that it
    holds, a backend's scaler, handlers, the global random streams, and the generators of the data. A batch that was taken out of
    data that gives its batches only once is gone.

    Args:
        module: that is trained.
        backend: that it is placed by.
        data: for training and for evaluation.
        handlers: with a `state_dict` and a `load_state_dict`.
    """
    if backend.device.type == "cuda":
        torch.cuda.init()  # type: ignore[no-untyped-call]  # its random stream is among those put back
    with ExitStack() as stack:
        stack.callback(set_random_state, random_state())
        kept = PutBack(backend.device)
        stack.callback(kept.put_back)
        kept.remember(module)
        kept.remember(backend)
        for handler in handlers:
            kept.remember_state(handler)
        for each in data:
            for part in _parts_of(each):
                stack.callback(_in_place(part))
        yield


def _parts_of(data: Any) -> Iterator[Any]:
    """Yields data and what of a loader may draw random numbers."""
    given = data.given if isinstance(data, Ordered) else data
    batching = getattr(given, "batch_sampler", None)
    parts = (given, getattr(given, "sampler", None), batching, getattr(batching, "sampler", None), getattr(given, "dataset", None))
    yield from {id(part): part for part in parts if part is not None}.values()


def _in_place(part: Any) -> Any:
    """Returns what puts one part of the data back: by its own state, and the generators among its attributes."""
    undo = [generator_state(value) for value in getattr(part, "__dict__", {}).values()]
    if hasattr(part, "state_dict") and hasattr(part, "load_state_dict"):
        state = deepcopy(part.state_dict())
        undo.append(lambda: part.load_state_dict(state))

    def put_back() -> None:
        for each in undo:
            if each is not None:
                each()

    return put_back
