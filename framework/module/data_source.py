"""What may be given as data, checked before anything is read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import count, islice
from traceback import walk_tb
from typing import Any

from torch import Tensor
from torch.nn import Module
from torch.utils.data import Dataset, IterableDataset

from framework.backends.feed import Moved
from framework.data.base import Ordered
from framework.engine.signature import accepts, describe, signature_of
from framework.errors import DataError


class CalledAnew:
    """The batches of a function that returns an iterable; the function is called for each pass."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def __iter__(self) -> Iterator[Any]:
        data = self.function()
        if not _is_iterable(data):
            hint = " Did you forget to return them?" if data is None else ""
            raise DataError(
                f"{describe(self.function)}() should return an iterable of batches, got {data!r} ({type(data).__name__}).{hint}"
            )
        return iter(data if hasattr(data, "__iter__") else AskedByIndex(data))


class AskedByIndex:
    """The batches of an object that has `__getitem__` and no `__iter__`: those of 0, 1, 2 and so on, up to an IndexError.

    Python ends a pass over such an object at any IndexError, also at one that is a mistake. Here only one that `__getitem__` itself
    raises ends it, and not before the object's length, where it has one.
    """

    def __init__(self, data: Any) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __iter__(self) -> Iterator[Any]:
        length, name = length_of(self.data), type(self.data).__name__
        for index in count():
            try:
                batch = self.data[index]
            except IndexError as error:
                if length is None and not _raised_below(error):
                    return
                if length is not None and index >= length:
                    return
                of = "" if length is None else f" of {length}"
                error.add_note(
                    f"It was raised for batch {index}{of} of {name}, which has no __iter__ and so is asked for its batches by "
                    "index. If they end there, say so by __len__."
                )
                raise
            except LookupError as error:
                error.add_note(f"{name} has no __iter__, so it was asked for its batches by index: {index} here. Define __iter__.")
                raise
            yield batch


def _raised_below(error: IndexError) -> bool:
    """Tells whether the error comes out of something that `__getitem__` calls, other than a `__getitem__`."""
    frames = [frame.f_code.co_name for frame, _ in walk_tb(error.__traceback__)][1:]
    return any(name != "__getitem__" for name in frames)


def given_data(data: Any) -> Any:
    """Returns what data was made of: what the user gave, or a `CalledAnew` of it."""
    while isinstance(data, Ordered | Limited | Moved | AskedByIndex):
        data = data.given if isinstance(data, Ordered) else data.data
    return data


def name_of(data: Any) -> str:
    """Returns what to call the data in a message."""
    data = given_data(data)
    return f"what {describe(data.function)}() gives" if isinstance(data, CalledAnew) else f"this {type(data).__name__}"


class Limited:
    """The first `limit` batches of each pass over the data.

    Attributes:
        taken: how many of the next pass were taken before it begins.
    """

    def __init__(self, data: Iterable[Any], limit: int) -> None:
        self.data = data
        self._limit = limit
        self.taken = 0

    def __iter__(self) -> Iterator[Any]:
        left, self.taken = self._limit - self.taken, 0
        return islice(iter(self.data), left)


def limited(data: Iterable[Any], limit: int | None) -> tuple[Iterable[Any], int | None]:
    """Returns the first `limit` batches of each pass over the data, and how many they are; None where that is unknown."""
    length = length_of(data)
    if limit is None or (length is not None and length <= limit):
        return data, length
    return Limited(data, limit), None if length is None else limit


def check_data(data: Any, argument: str) -> Iterable[Any]:
    """Returns the data as an iterable of batches.

    Args:
        data: an iterable of batches, or a function that returns one.
        argument: the name of the argument, for messages.

    Raises:
        DataError: a bare dataset, a tensor or array, a text, a class, something that cannot be iterated over, or something empty.
    """
    if isinstance(data, Dataset):
        how = f"batch_size=32, shuffle={argument == 'train_data'})"
        if isinstance(data, IterableDataset):
            how = "batch_size=32), or batch_size=None where it gives batches itself"
        raise DataError(
            f"{argument} is a bare {type(data).__name__}, which gives samples; batches are needed. "
            f"Write {argument}=DataLoader(dataset, {how}."
        )
    if isinstance(data, tuple) and data and all(isinstance(item, Tensor) or hasattr(item, "__array__") for item in data):
        raise DataError(
            f"{argument} is one tuple of {len(data)} tensors or arrays, which looks like one batch or a whole data set. Write "
            f"{argument}=[data] for one batch, list(data) if each is a batch, or DataLoader(TensorDataset(*data), batch_size=32)."
        )
    if isinstance(data, str | bytes):
        raise DataError(
            f"{argument} should be an iterable of batches such as a DataLoader, got the text {data!r}. If it is a path, give a "
            "DataLoader over what lies there."
        )
    if isinstance(data, Tensor | Mapping) or hasattr(data, "__array__"):
        raise DataError(
            f"{argument} should be an iterable of batches such as a DataLoader, got one {type(data).__name__}. "
            "Wrap it: [batch] is an iterable of one batch."
            + (" For several data sets make one call each." if argument == "data" and isinstance(data, Mapping) else "")
        )
    if isinstance(data, Module):
        raise DataError(
            f"{argument} is the module {type(data).__name__}. fit, evaluate and predict are methods of the module: "
            "module.fit(train_data, val_data)."
        )
    if isinstance(data, type):
        raise DataError(f"{argument} should be an iterable of batches, got the class {data.__name__}. Write {data.__name__}(...).")
    if not _is_iterable(data) and callable(data):
        if not accepts(data, (), {}):
            raise DataError(
                f"{argument} is the function {describe(data)}{signature_of(data)}; it is called for each pass, without arguments. "
                f"Write {argument}=lambda: {describe(data)}(...)."
            )
        data = CalledAnew(data)
    if not _is_iterable(data):
        raise DataError(f"{argument} should be an iterable of batches such as a DataLoader, got {data!r} ({type(data).__name__}).")
    if length_of(data) == 0:
        raise DataError(
            f"{argument} is empty: len({type(data).__name__}) is 0. If it is a DataLoader, look at the dataset's length, and at "
            "drop_last with a batch_size above it."
        )
    by_index = not hasattr(data, "__iter__") and not hasattr(data, "state_dict")
    return AskedByIndex(data) if by_index else data


def length_of(data: Any) -> int | None:
    """Returns the number of batches in one pass, None where the data does not know.

    Raises:
        DataError: its `__len__` gives what is no length.
    """
    try:
        return len(data)
    except TypeError as error:  # no length, or a loader over an iterable dataset, whose length raises
        if "cannot be interpreted as an integer" not in str(error) or (said := data.__len__()) is None:
            return None
    except ValueError as error:
        if "__len__() should return" not in str(error):
            raise
        said = data.__len__()
    raise DataError(
        f"len({type(data).__name__}) should be a whole number of batches, got {said!r} ({type(said).__name__}). Correct its "
        "__len__, or leave it out where the number is not known."
    )


def _is_iterable(data: Any) -> bool:
    return hasattr(data, "__iter__") or hasattr(data, "__getitem__")


def is_one_shot(data: Any) -> bool:
    """Tells whether the data can be passed over only once: an iterator, such as a generator."""
    return hasattr(data, "__next__") and iter(data) is data
