"""Which kind of passes suits which data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from torch.utils.data import DataLoader

from framework.data.base import Ordered
from framework.data.in_sequence import InSequence
from framework.data.loader_copy import is_map_style
from framework.data.map_style import MapStyle
from framework.data.read_forward import ReadForward
from framework.data.shares import Shares
from framework.data.stateful import Stateful
from framework.errors import DataError, SettingError

__all__ = ["Ordered", "ordered"]

_SEEDINGS = ("batch", "sample")


def ordered(
    data: Iterable[Any], seed: int, *, seeding: str = "batch", shares: Shares | None = None, resumes: bool = True
) -> Ordered:
    """Makes the passes over data follow from a seed, so that a run can be taken up inside one; `fit` trains on exactly this.

    A map-style `DataLoader` gives its samples in an order that follows from (seed, pass), and what its dataset draws follows too,
    whatever the number of workers; the global random streams stay as they are. A sequence and data with `state_dict` and
    `load_state_dict` keep their order and go on at once; any other iterable keeps its order and is read again from its start.

    Args:
        data: batches.
        seed: that of the run, from 0 to 2**64 - 1, as `torch.initial_seed()` gives them.
        seeding: what a sample draws follows from (seed, pass) and "batch": the position of its batch; "sample": its index, for a
            map-style `DataLoader` alone, which costs about 10 us a sample and does not depend on the batch size.
        shares: which samples are those of this process, where several train one model; each takes a part of each batch of a
            map-style `DataLoader`, and whole batches of other data. Data with `state_dict` is left to do that by itself, if it
            `resumes`. None: all.
        resumes: a position in the data may be asked for.

    Raises:
        SettingError: a seed or a seeding that there is not, or "sample" for other data, or batches that cannot be split as
            `shares` wants it.
        DataError: `data` cannot be iterated over.

    Example:
        >>> from torch.utils.data import DataLoader
        >>> from framework.data import ordered
        >>> loader = DataLoader(range(6), batch_size=2, shuffle=True)
        >>> data = ordered(loader, seed=1)
        >>> whole = [batch.tolist() for batch in data]
        >>> again = ordered(loader, seed=1)
        >>> batches = iter(again)
        >>> next(batches).tolist() == whole[0]
        True
        >>> position = again.position()
        >>> position
        {'epoch': 0, 'samples': 2, 'seed': 1, 'length': 6}
        >>> resumed = ordered(loader, seed=1)
        >>> resumed.load_position(position)
        >>> [batch.tolist() for batch in resumed] == whole[1:]
        True
    """
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**64:
        raise SettingError(f"seed should be an integer from 0 to 2**64 - 1, got {seed!r} ({type(seed).__name__}).")
    if seeding not in _SEEDINGS:
        raise SettingError(f'seeding should be "batch" or "sample", got {seeding!r}.')
    if not hasattr(data, "__iter__") and not hasattr(data, "__getitem__"):
        raise DataError(f"data should be an iterable of batches such as a DataLoader, got {data!r} ({type(data).__name__}).")
    saves_itself = hasattr(data, "state_dict") and hasattr(data, "load_state_dict")
    if not saves_itself and isinstance(data, DataLoader) and is_map_style(data):
        return _of(data, MapStyle(data, seed, seeding, shares))
    if seeding == "sample":
        raise SettingError(
            f'seeding="sample" is for a map-style DataLoader, whose samples have indices, got {type(data).__name__}. '
            'Use seeding="batch".'
        )
    if shares is not None:
        shares.refuse_whole(f"this {type(data).__name__}")
    if saves_itself and (resumes or shares is None):
        return _of(data, Stateful(data, seed))
    return _of(data, InSequence(data, seed, shares) if isinstance(data, Sequence) else ReadForward(data, seed, shares))


def _of(data: Any, made: Ordered) -> Ordered:
    made.given = data
    return made
