import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from framework import DataError
from framework.module.data_source import Limited, check_data, is_one_shot, length_of


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


@pytest.mark.parametrize("data", [[1, 2], (1,), range(3), DataLoader(Endless()), Indexed(), iter([1])], ids=str)
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


@pytest.mark.parametrize("data", [torch.ones(3), np.ones(3), "abc", b"abc", {"x": 1}], ids=str)
def test_one_batch_is_not_an_iterable_of_batches(data):
    assert refusal(data) == (
        f"train_data should be an iterable of batches such as a DataLoader, got one {type(data).__name__}. "
        "Wrap it: [batch] is an iterable of one batch."
    )


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
