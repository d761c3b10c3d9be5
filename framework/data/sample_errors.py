"""An error in a dataset says which sample it came from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch.utils.data import Subset

_NAMED = 100


def name_samples(error: Exception, dataset: Any, indices: Sequence[Any]) -> None:
    """Notes in `error` which dataset raised it, and for which samples. The note is part of the text that a worker sends.

    Args:
        error: what the dataset raised.
        dataset: the dataset.
        indices: of one sample, or of all that were asked for together.

    Raises:
        RuntimeError: in place of a StopIteration, which would look like the end of the data.
    """
    where = _named(dataset, indices)
    if isinstance(error, StopIteration):
        raise RuntimeError(
            f"StopIteration was raised in {where}, where it would look like the end of the data. Raise another exception, or use "
            "next(iterator, default)."
        ) from error
    error.add_note(f"It was raised in {where}.")


def _named(dataset: Any, indices: Sequence[Any]) -> str:
    named = list(indices)[:_NAMED]
    while type(dataset) is Subset:  # as random_split makes them: name the sample where the user knows it
        named = [dataset.indices[index] for index in named]
        dataset = dataset.dataset
    if len(indices) == 1:
        return f"sample {named[0]!r} of {type(dataset).__name__}"
    more = f" and {len(indices) - _NAMED} more" if len(indices) > _NAMED else ""
    return f"one of the samples {', '.join(map(repr, named))}{more} of {type(dataset).__name__}"
