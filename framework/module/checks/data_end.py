"""Data that ends where it should not."""

from __future__ import annotations

from typing import Any

from framework.errors import DataError
from framework.module.data_source import name_of


def no_batch(what: str, data: Any) -> DataError:
    """Builds the error for a pass that gave no batch.

    Args:
        what: to call the data as a whole, with the pass where that is not the first.
        data: an iterable of batches.
    """
    return DataError(
        f"{what} gave no batch: {name_of(data)} is empty, or was used up by an earlier pass. "
        "Give a list, a DataLoader, or a function that makes the batches anew each time it is called."
    )


def too_few(what: str, said: int, given: int, remedy: str = "") -> DataError:
    """Builds the error for a pass that gave fewer batches than the data says it has.

    Args:
        what: to call the data as a whole.
        said, given: how many batches.
        remedy: another one than a correct length.
    """
    return DataError(f"{what} says that it has {said} batches and gave {given}. Correct its __len__{remedy}.")
