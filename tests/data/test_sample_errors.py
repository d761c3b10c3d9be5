"""Which sample an error came from."""

import pytest
import torch
from augmented import Augmented, Bad
from torch.utils.data import DataLoader, Subset

from framework.data import ordered
from framework.data.sample_errors import name_samples


class BadAtOnce(Bad):
    def __getitems__(self, indices):
        return [self[index] for index in indices]


class TwoArgumentsError(Exception):
    def __init__(self, one, two):
        super().__init__(one, two)


def note(indices, dataset):
    error = ValueError("bad")
    name_samples(error, dataset, indices)
    return error.__notes__


def test_it_names_the_sample_and_the_dataset():
    assert note([77], Augmented()) == ["It was raised in sample 77 of Augmented."]
    assert note(["a.png"], Augmented()) == ["It was raised in sample 'a.png' of Augmented."]


def test_it_names_all_that_were_asked_for_together_up_to_a_number():
    assert note(torch.tensor([1, 2]), [0]) == ["It was raised in one of the samples tensor(1), tensor(2) of list."]
    (text,) = note(list(range(102)), Augmented())
    assert text.endswith("98, 99 and 2 more of Augmented.")


def test_a_subset_is_seen_through():
    inner = Subset(Augmented(), [20, 21, 22])
    assert note([1], Subset(inner, [2, 1])) == ["It was raised in sample 21 of Augmented."]


def test_a_stop_iteration_becomes_an_error():
    with pytest.raises(
        RuntimeError, match=r"StopIteration was raised in sample 3 of list, .* use next\(iterator, default\)"
    ) as info:
        name_samples(StopIteration(), [1], [3])
    assert isinstance(info.value.__cause__, StopIteration)


@pytest.mark.fault(26)
@pytest.mark.parametrize("error", [ValueError("broken file"), KeyError("label"), OSError(5, "Input/output error")])
@pytest.mark.parametrize("workers", [0, 1])
def test_the_error_of_a_pass_names_it_and_keeps_its_type(error, workers):
    data = ordered(DataLoader(Bad(error), batch_size=10, shuffle=True, num_workers=workers), seed=1)
    with pytest.raises(type(error)) as info:
        list(data)
    data.close()
    text = "".join([str(info.value), *getattr(info.value, "__notes__", [])])
    assert "It was raised in sample 77 of Bad." in text


@pytest.mark.fault(26)
@pytest.mark.parametrize(
    ("dataset", "named"),
    [
        (Subset(Bad(ValueError("broken file")), range(70, 100)), "sample 77 of Bad"),
        (Subset(BadAtOnce(ValueError("broken file"), n=8, bad=6), range(4, 8)), "one of the samples 4, 5, 6, 7 of BadAtOnce"),
    ],
)
def test_a_part_of_a_dataset_names_the_sample_of_the_whole(dataset, named):
    with pytest.raises(ValueError, match="broken file") as info:
        list(ordered(DataLoader(dataset, batch_size=4), seed=1))
    assert info.value.__notes__ == [f"It was raised in {named}."]


@pytest.mark.fault(26)
@pytest.mark.parametrize("index", [500, "a"])
def test_an_index_that_a_part_of_a_dataset_does_not_have_is_named_as_it_is(index):
    part = Subset(range(100), list(range(10)))
    with pytest.raises((IndexError, TypeError)) as info:
        list(ordered(DataLoader(part, batch_size=1, sampler=[0, index]), seed=1))
    assert info.value.__notes__ == [f"It was raised in sample {index!r} of Subset."]
    assert info.value.__context__ is None


@pytest.mark.fault(26)
@pytest.mark.parametrize("workers", [0, 1])
def test_a_stop_iteration_of_a_dataset_does_not_end_the_pass(workers):
    data = ordered(DataLoader(Bad(StopIteration()), batch_size=10, num_workers=workers), seed=1)
    with pytest.raises(RuntimeError, match="StopIteration was raised in sample 77 of Bad"):
        list(data)
    data.close()


@pytest.mark.fault(26)
def test_an_error_that_a_text_cannot_make_still_names_it():
    data = ordered(DataLoader(Bad(TwoArgumentsError(1, 2)), batch_size=10, num_workers=1), seed=1)
    with pytest.raises(RuntimeError, match=r"TwoArgumentsError(.|\n)*It was raised in sample 77 of Bad\."):
        list(data)
    data.close()
