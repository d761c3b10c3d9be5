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
    whole, named = seen_through(dataset, indices)
    where = f"{'one of the ' if len(indices) > 1 else ''}{listed(named, len(indices))} of {type(whole).__name__}"
    refuse_stop_iteration(error, where)
    error.add_note(f"It was raised in {where}.")


def refuse_stop_iteration(error: Exception, where: str) -> None:
    """Raises in place of a StopIteration, which would look like the end of the data.

    Raises:
        RuntimeError: chained from `error`, saying where it was raised.
    """
    if isinstance(error, StopIteration):
        raise RuntimeError(
            f"StopIteration was raised in {where}, where it would look like the end of the data. Raise another exception, or use "
            "next(iterator, default)."
        ) from error


def seen_through(dataset: Any, indices: Sequence[Any]) -> tuple[Any, list[Any]]:
    """Returns the dataset that a Subset is a part of, and the first of the indices there, where the user knows the samples.

    Where they cannot be found there, the Subset and the indices in it.
    """
    named = list(indices)[:_NAMED]
    while type(dataset) is Subset:  # as random_split makes them
        try:
            named = [dataset.indices[index] for index in named]
        except (LookupError, TypeError):  # no index of the subset, which may well be the error at hand
            break
        dataset = dataset.dataset
    return dataset, named


def listed(named: Sequence[Any], count: int) -> str:
    """Lists samples by what `seen_through` returned.

    Args:
        named: the first indices.
        count: how many there are in all.
    """
    if count == 0:
        return "no samples"
    more = f" and {count - len(named)} more" if count > len(named) else ""
    return f"sample{'s' if count > 1 else ''} {', '.join(map(repr, named))}{more}"
