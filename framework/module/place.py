"""Where a run was when something went wrong: noted on the error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from framework.backends.base import Backend
from framework.backends.description import describe_tree
from framework.engine.engine import Engine
from framework.engine.events import Events
from framework.errors import CheckpointError, FrameworkError
from framework.module.advice import advice_for
from framework.module.resuming.run_folder import RunFolder
from framework.module.step_events import StepEvents
from framework.tracebacks import FULL, folds

_FOLDED = f"Frames of the framework are left out of the traceback; {FULL}=1 in the environment shows them."
_WITH_BATCH = (Events.GET_BATCH_COMPLETED, Events.ITERATION_STARTED, Events.ITERATION_COMPLETED)


def note_place(engine: Engine, describe: Callable[[Engine], str]) -> None:
    """Lets an engine note on each error what `describe` says of it then."""

    def note(engine: Engine, error: BaseException) -> None:
        if isinstance(error, Exception):
            _note(error, describe(engine))

    engine._on_error = note


@contextmanager
def advised() -> Iterator[None]:
    """Notes on an error that leaves the block what helps against it, and how to see more of it."""
    try:
        yield
    except Exception as error:
        folded = None if isinstance(error, FrameworkError) or not folds() else _FOLDED
        for note in (advice_for(error), folded):
            if note is not None:
                _note(error, note)
        raise


def _note(error: Exception, text: str) -> None:
    """Adds a note, once: an error may come through several runs, or be raised again.

    `add_note` assigns an attribute, which some classes refuse: their error would be hidden behind another one.
    """
    notes = vars(error).setdefault("__notes__", [])
    if text not in notes:
        notes.append(text)


def doing(engine: Engine) -> str:
    """Says what an engine is doing."""
    iteration, event = engine.state.iteration, engine.last_event_name
    if event == Events.GET_BATCH_STARTED:
        return f"waiting for the batch of iteration {iteration + 1}"
    if event == Events.ITERATION_STARTED:
        return f"in the step of iteration {iteration}"
    return f"iteration {iteration}, after the event {getattr(event, 'name', event)} began"


def batch_of(engine: Engine) -> str:
    """Describes the batch that is being worked on; nothing where there is none."""
    batch, event = engine.state.batch, engine.last_event_name
    idle = event == StepEvents.EVALUATED or (isinstance(event, Events) and event not in _WITH_BATCH)
    return "" if batch is None or idle else f" with the batch {describe_tree(batch)}"


def surroundings(backend: Backend, folder: RunFolder | None) -> str:
    """Says where a run takes place, and what is left of it."""
    rank, size = 0, 1
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        rank, size = torch.distributed.get_rank(), torch.distributed.get_world_size()
    return f"on device {backend.device}, rank {rank} of {size}, {_last_checkpoint(folder)}"


def _last_checkpoint(folder: RunFolder | None) -> str:
    if folder is None:
        return "without a run_dir"
    try:
        last = folder.store.last()
    except CheckpointError as error:  # the error at hand is the one to tell of
        return f"last checkpoint unknown: {str(error).rstrip('.')}"
    return "no checkpoint yet" if last is None else f"last checkpoint {last}"
