"""What each batch of a map-style loader draws follows from a seed that travels with its indices, to whichever process makes it."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Sized
from typing import Any

from torch.utils.data import Dataset, Subset

from framework.data.sample_errors import name_samples
from framework.data.streams import seed_streams
from framework.errors import DataError
from framework.seeding import derive_seed


def seeded(items: Iterable[Any], seed: int, first: int) -> Iterator[tuple[int, Any]]:
    """Yields each item with its seed.

    Args:
        items: the indices of one batch each.
        seed: of the pass.
        first: the position of the first item in the pass.
    """
    for position, item in enumerate(items, first):
        yield derive_seed(seed, position), item


class SeededItems:
    """Stands where a loader has its sampler; a loader whose workers persist keeps it, and iterates over it once a pass.

    Args:
        sampler: what it stands for.
    """

    def __init__(self, sampler: Any) -> None:
        self._sampler: Sized = sampler
        self._items: Iterator[tuple[int, Any]] = iter(())

    def begin(self, items: Iterator[tuple[int, Any]]) -> None:
        """Makes the next iteration give these."""
        self._items = items

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        return self._items

    def __len__(self) -> int:
        return len(self._sampler)


class SeededDataset(Dataset[Any]):
    """Seeds the random streams before it makes a batch, so that it does not matter which process makes it, or when.

    Args:
        dataset: the user's.
        each_sample: a seed comes with a pass instead, and that of each sample follows from it and the sample's index.

    Attributes:
        latest: the indices that were asked for last.
    """

    def __init__(self, dataset: Any, each_sample: bool = False) -> None:
        self.dataset = dataset
        self.latest: Any = ()
        self._each_sample = each_sample

    def __getitems__(self, seeded: tuple[int, Any]) -> list[Any]:
        """Returns the samples of one batch."""
        seed, indices = seeded
        self.latest = indices
        dataset, each_sample = self.dataset, self._each_sample
        if not each_sample:
            seed_streams(seed)
            if (get_all := getattr(dataset, "__getitems__", None)) and not _gets_one_by_one(dataset):
                try:
                    samples: list[Any] = get_all(indices)
                except Exception as error:
                    name_samples(error, dataset, indices)
                    raise
                return samples
        index, samples = None, []
        try:
            for index in indices:
                if each_sample:
                    seed_streams(derive_seed(seed, _whole(index)))
                samples.append(dataset[index])
        except Exception as error:
            name_samples(error, dataset, (index,))
            raise
        return samples

    def __getitem__(self, seeded: tuple[int, Any]) -> Any:
        """Returns what a loader without batches makes of one item of its sampler."""
        seed, index = seeded
        self.latest = index if isinstance(index, list) else (index,)
        seed_streams(derive_seed(seed, _whole(index)) if self._each_sample else seed)
        try:
            return self.dataset[index]
        except Exception as error:
            name_samples(error, self.dataset, self.latest)
            raise


def _gets_one_by_one(dataset: Any) -> bool:
    """Tells whether a Subset would only loop over the samples: then we do, and know which one fails."""
    whole = dataset
    while type(whole) is Subset:
        whole = whole.dataset
    return whole is not dataset and not getattr(whole, "__getitems__", None)


def _whole(index: Any) -> int:
    try:
        return operator.index(index)
    except TypeError:
        raise DataError(
            f'seeding="sample" takes a sample\'s seed from its index, which should be an integer, got {index!r} '
            f'({type(index).__name__}). Use seeding="batch".'
        ) from None
