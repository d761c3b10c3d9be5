"""Which kind of passes suits which data."""

import pytest
from augmented import Augmented, Stream
from torch.utils.data import DataLoader

from framework.data import Shares, ordered
from framework.data.in_sequence import InSequence
from framework.data.map_style import MapStyle
from framework.data.read_forward import ReadForward
from framework.data.stateful import Stateful
from framework.errors import DataError, SettingError


class Own(DataLoader):
    """A loader with an iteration of its own."""

    def __iter__(self):
        return super().__iter__()


class Derived(DataLoader):
    """A loader that iterates as torch's does."""


class Saves(DataLoader):
    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        """Has nothing to load."""


class ByIndex:
    def __getitem__(self, index):
        return [1, 2][index]


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (DataLoader(Augmented()), MapStyle),
        (DataLoader(Augmented(), batch_size=None), MapStyle),
        (Derived(Augmented()), MapStyle),
        ([1, 2], InSequence),
        ((1, 2), InSequence),
        (Saves(Augmented()), Stateful),
        (Own(Augmented()), ReadForward),
        (DataLoader(Stream()), ReadForward),
        (ByIndex(), ReadForward),
        (iter([1, 2]), ReadForward),
    ],
)
def test_the_kind_follows_from_the_data(data, kind):
    assert type(ordered(data, seed=0)) is kind


@pytest.mark.parametrize("seed", [-1, 2**64, 1.0, True, None])
def test_a_seed_out_of_range_is_refused(seed):
    with pytest.raises(SettingError, match=r"seed should be an integer from 0 to 2\*\*64 - 1, got "):
        ordered([1], seed)


def test_the_seeds_of_torch_are_allowed():
    data = ordered(DataLoader(range(5), shuffle=True), seed=2**64 - 1)
    assert sorted(batch.item() for batch in data) == list(range(5))


def test_an_unknown_seeding_is_refused():
    with pytest.raises(SettingError, match='seeding should be "batch" or "sample", got \'worker\''):
        ordered([1], 0, seeding="worker")


@pytest.mark.parametrize("data", [[1], DataLoader(Stream()), Saves(Augmented())])
def test_a_seed_a_sample_needs_indices(data):
    with pytest.raises(SettingError, match='seeding="sample" is for a map-style DataLoader, whose samples have indices, got '):
        ordered(data, 0, seeding="sample")


def test_what_cannot_be_iterated_over_is_refused():
    with pytest.raises(DataError, match=r"data should be an iterable of batches such as a DataLoader, got 5 \(int\)"):
        ordered(5, 0)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ([1], "this list"),
        (DataLoader(Stream()), "this DataLoader"),
        (Saves(Augmented()), "this Saves"),
        (iter([1]), "this list_iterator"),
    ],
)
def test_batches_without_indices_are_not_split(data, said):
    with pytest.raises(SettingError, match=f'batch="global" .* by its indices, which {said} does not have'):
        ordered(data, 0, shares=Shares(0, 2, whole=True))


def test_data_that_saves_itself_is_split_by_itself():
    data = ordered(Saves(Augmented(4)), 0, shares=Shares(1, 2))
    assert [(len(batch), data.share) for batch in data] == [(1, 1.0)] * 4
