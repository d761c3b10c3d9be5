"""How the batches of an epoch come: as a plain `for` where nobody looks at the fetch, else fetch by fetch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch.utils.data import DataLoader, RandomSampler

from framework.engine.events import Events
from framework.module.data_source import CalledAnew
from framework.module.drawing.handlers import Handlers
from framework.module.drawing.page import Page
from framework.module.run import Run


def describe_data(data: Any, length: int | None) -> str:
    """Returns a line about data: how many batches, of what."""
    count = "as many batches as come" if length is None else f"{length:,} batch{'' if length == 1 else 'es'}"
    if isinstance(data, CalledAnew):
        return f"{count}, from a function called for each pass"
    if not isinstance(data, DataLoader):
        return f"{count} of a {type(data).__name__}"
    shuffle = ", shuffle=True" if isinstance(data.sampler, RandomSampler) else ""
    workers = f", num_workers={data.num_workers}" if data.num_workers else ""
    size = getattr(data.batch_sampler, "batch_size", data.batch_size)
    return f"{count} of {type(data).__name__}(batch_size={size}{shuffle}{workers})"


@contextmanager
def draw_batches(
    page: Page,
    handlers: Handlers,
    data: str | None,
    length: int | None,
    comment: str,
    *,
    one_pass: bool,
    counts: bool = False,
) -> Iterator[None]:
    """Opens the block of one iteration, with the events of its fetch.

    Args:
        page: where to.
        handlers: of the engine.
        data: the expression of the data; None for none, where each step gets None as its batch.
        length: batches an epoch; None where it is as long as the data.
        comment: about the data.
        one_pass: an epoch is one pass; else `batches` was opened before, and is carried on from epoch to epoch.
        counts: `index` counts the batches of the epoch, from 0.
    """
    anew = [function for function in handlers.functions(Events.DATALOADER_STOP_ITERATION) if function is not Run.refuse_short_pass]
    if data is None:
        with page.block(f"for index in range({length}):" if counts else f"for _ in range({length}):", comment):
            page.line("batch = None")
            yield
    elif one_pass and not anew and not handlers.functions(Events.GET_BATCH_STARTED):
        refuses = bool(handlers.functions(Events.DATALOADER_STOP_ITERATION)) and length is not None
        handlers.pass_over(Events.DATALOADER_STOP_ITERATION)
        with page.block(f"for index, batch in enumerate({data}):" if counts else f"for batch in {data}:", comment):
            handlers.draw(Events.GET_BATCH_COMPLETED)
            yield
        if refuses:
            page.remark(f"fewer than {length:,} batches: run.refuse_short_pass(engine)")
    else:
        if one_pass:
            page.line(f"batches = iter({data})", comment)
        with page.block(f"for index in {'count()' if length is None else f'range({length})'}:"):
            _draw_fetch(page, handlers, data, length)
            handlers.draw(Events.GET_BATCH_COMPLETED)
            yield


def _draw_fetch(page: Page, handlers: Handlers, data: str, length: int | None) -> None:
    handlers.draw(Events.GET_BATCH_STARTED)
    with page.block("try:"):
        page.line("batch = next(batches)")
    with page.block("except StopIteration:"):
        if length is None:
            with page.block("if index > 0:", "the epoch is as long as the data"):
                page.line("break")
        handlers.draw(Events.DATALOADER_STOP_ITERATION)
        page.line(f"batches = iter({data})", "the data starts anew, once")
        page.line("batch = next(batches)")
