import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from framework import DataError
from framework.backends.feed import Moved
from framework.data import ordered
from framework.module.data_source import Limited, check_data, given_data, is_one_shot, length_of, limited, name_of


class Endless(IterableDataset):
    def __iter__(self):
        return iter(range(5))


class Indexed:
    def __getitem__(self, index):
        if index > 2:
            raise IndexError
        return index


def batches_of(name):
    return iter([name])


def refusal(data, argument="train_data"):
    with pytest.raises(DataError) as error:
        check_data(data, argument)
    return str(error.value)


@pytest.mark.parametrize("data", [[1, 2], (1,), range(3), DataLoader(Endless()), iter([1])], ids=str)
def test_any_iterable_is_taken_as_it_is(data):
    assert check_data(data, "data") is data


def test_a_function_is_called_for_each_pass():
    calls = []
    data = check_data(lambda: calls.append(None) or [1, 2], "data")
    assert calls == []
    assert (list(data), list(data)) == ([1, 2], [1, 2])
    assert len(calls) == 2
    assert length_of(data) is None
    assert not is_one_shot(data)


def test_a_bare_dataset_is_refused_with_the_line_that_wraps_it():
    dataset = TensorDataset(torch.ones(3))
    assert refusal(dataset) == (
        "train_data is a bare TensorDataset, which gives samples; batches are needed. "
        "Write train_data=DataLoader(dataset, batch_size=32, shuffle=True)."
    )
    assert refusal(dataset, "val_data").endswith("Write val_data=DataLoader(dataset, batch_size=32, shuffle=False).")
    assert "bare Endless" in refusal(Endless())


@pytest.mark.parametrize("data", [torch.ones(3), np.ones(3), {"x": 1}], ids=str)
def test_one_batch_is_not_an_iterable_of_batches(data):
    assert refusal(data) == (
        f"train_data should be an iterable of batches such as a DataLoader, got one {type(data).__name__}. "
        "Wrap it: [batch] is an iterable of one batch."
    )


def test_a_path_is_no_data():
    assert refusal("data/train").endswith("got the text 'data/train'. If it is a path, give a DataLoader over what lies there.")
    assert "got the text b'abc'" in refusal(b"abc")


def test_a_module_is_no_data():
    with pytest.raises(DataError, match=r"train_data is the module Linear. .* module.fit\(train_data, val_data\)"):
        check_data(torch.nn.Linear(1, 1), "train_data")


def test_a_class_is_no_data():
    assert refusal(DataLoader) == "train_data should be an iterable of batches, got the class DataLoader. Write DataLoader(...)."


@pytest.mark.parametrize("data", [3, 2.5, None, object()], ids=str)
def test_what_cannot_be_iterated_over(data):
    assert refusal(data) == (
        f"train_data should be an iterable of batches such as a DataLoader, got {data!r} ({type(data).__name__})."
    )


def test_a_function_that_needs_arguments():
    assert refusal(batches_of) == (
        "train_data is the function batches_of(name); it is called for each pass, without arguments. "
        "Write train_data=lambda: batches_of(...)."
    )


def test_a_function_that_returns_no_batches():
    def forgetful():
        [1, 2]  # noqa: B018

    with pytest.raises(DataError, match=r"forgetful\(\) should return an iterable of batches, got None .*forget to return them"):
        iter(check_data(forgetful, "data"))
    with pytest.raises(DataError, match=r"<lambda>\(\) should return an iterable of batches, got 3 \(int\)\.$"):
        iter(check_data(lambda: 3, "data"))


@pytest.mark.parametrize("data", [[], (), DataLoader(TensorDataset(torch.ones(3)), batch_size=4, drop_last=True)], ids=str)
def test_empty_data(data):
    assert refusal(data) == (
        f"train_data is empty: len({type(data).__name__}) is 0. If it is a DataLoader, look at the dataset's length, and at "
        "drop_last with a batch_size above it."
    )


def test_lengths():
    assert length_of([1, 2]) == 2
    assert length_of(iter([1])) is None
    assert length_of(DataLoader(Endless())) is None
    assert length_of(None) is None


def test_one_shot():
    assert is_one_shot(iter([1]))
    assert is_one_shot(number for number in range(3))
    assert not is_one_shot([1])
    assert not is_one_shot(DataLoader(Endless()))


def test_limited_reads_no_more_than_its_limit():
    read = []

    def numbers():
        for number in range(9):
            read.append(number)
            yield number

    limited = Limited(check_data(numbers, "data"), 2)
    assert list(limited) == [0, 1]
    assert read == [0, 1]
    assert list(limited) == [0, 1]


class Lying:
    def __init__(self, said):
        self.said = said

    def __len__(self):
        return self.said

    def __iter__(self):
        return iter([1, 2])


@pytest.mark.parametrize(("said", "told"), [(2.5, "2.5 (float)"), (-1, "-1 (int)"), ("3", "'3' (str)")])
def test_a_length_is_a_whole_number(said, told):
    with pytest.raises(DataError) as error:
        check_data(Lying(said), "train_data")
    assert str(error.value) == (
        f"len(Lying) should be a whole number of batches, got {told}. Correct its __len__, or leave it out where the number is "
        "not known."
    )


def test_a_length_of_none_is_not_known():
    assert length_of(Lying(None)) is None


def test_an_error_in_a_length_is_the_users():
    class Broken(Lying):
        def __len__(self):
            raise ValueError("mine")

    with pytest.raises(ValueError, match=r"^mine$"):
        length_of(Broken(3))


class Batches:
    """Has no `__iter__`. The last of its batches cannot be loaded."""

    def __init__(self, *batches):
        self.batches = batches

    def __getitem__(self, index):
        return self.load(self.batches[index])

    def load(self, batch):
        return (10, 20)[batch]


class Known(Batches):
    def __len__(self):
        return len(self.batches)


class Outer:
    def __init__(self, inner):
        self.inner = inner

    def __getitem__(self, index):
        return self.inner[index]


def test_data_without_iter_ends_at_an_index_error_of_its_own():
    for data in (Batches(0, 1), Known(0, 1), Outer(Batches(0, 1)), Outer(Outer(Indexed()))):
        checked = check_data(data, "data")
        assert len(list(checked)) == len(list(checked)) in (2, 3)
        assert name_of(checked) == f"this {type(data).__name__}"
    assert length_of(check_data(Known(0, 1), "data")) == 2
    assert length_of(check_data(Batches(0, 1), "data")) is None
    assert list(check_data(lambda: Batches(0), "data")) == [10]


@pytest.mark.parametrize(("data", "place"), [(Batches(0, 2), "batch 1 of Batches"), (Known(0, 2, 1), "batch 1 of 3 of Known")])
def test_an_index_error_from_further_below_is_a_mistake(data, place):
    with pytest.raises(IndexError, match="tuple index") as info:
        list(check_data(data, "data"))
    (note,) = info.value.__notes__
    assert note == (
        f"It was raised for {place}, which has no __iter__ and so is asked for its batches by index. If they end there, say so by "
        "__len__."
    )


def test_one_that_ends_before_its_length_says_so_itself():
    class Short(Indexed):
        def __len__(self):
            return 5

    with pytest.raises(IndexError) as info:
        list(check_data(Short(), "data"))
    assert "batch 3 of 5 of Short" in info.value.__notes__[0]


def test_keys_are_no_indices():
    class Keyed:
        def __getitem__(self, key):
            return {"a": 1}[key]

    with pytest.raises(KeyError) as info:
        list(check_data(Keyed(), "data"))
    assert info.value.__notes__ == ["Keyed has no __iter__, so it was asked for its batches by index: 0 here. Define __iter__."]


def test_what_was_given_is_found_in_what_was_made_of_it():
    given = [1, 2]
    moved = Moved(Limited(ordered(given, seed=1), 1), torch.device("cpu"), lambda batch: batch)
    assert given_data(moved) is given
    assert name_of(moved) == "this list"


@pytest.mark.parametrize(("limit", "batches"), [(None, 3), (2, 2), (3, 3), (4, 3)])
def test_a_limit_that_the_data_does_not_reach_is_none(limit, batches):
    data, length = limited([1, 2, 3], limit)
    assert (list(data), length) == ([1, 2, 3][:batches], batches)
    unknown, length = limited(iter([1, 2, 3]), limit)
    assert (list(unknown), length) == ([1, 2, 3][:batches], None)
