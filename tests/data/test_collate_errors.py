"""Which samples could not be put into a batch, and why."""

from collections import namedtuple

import numpy
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset

from framework.data import ordered
from framework.data.collate_errors import NamedCollate, find_fault
from framework.engine import DeterministicEngine

Pair = namedtuple("Pair", "x y")
REMEDY = "Make them alike in the dataset, or give the DataLoader a collate_fn that does"


class Samples(Dataset):
    """Samples that follow from their index."""

    def __init__(self, make, n=8):
        self.make, self.n = make, n

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        return self.make(index)


class Stream(IterableDataset):
    def __iter__(self):
        return iter([torch.ones(3), torch.ones(2)])


def ragged(index):
    return {"x": torch.ones(3 if index == 5 else 4), "y": index}


class Shaped:
    shape = 3


def failing(samples):
    raise KeyError("label")


def slipping(samples):
    return next(iter(()))


def told(loader, error=Exception, data=None):
    """Returns the error of a pass as text, with its notes: those of a worker are in the text already."""
    data = data or ordered(loader, seed=1)
    with pytest.raises(error) as info:
        list(data)
    if hasattr(data, "close"):
        data.close()
    return "\n".join([str(info.value), *getattr(info.value, "__notes__", ())])


@pytest.mark.fault(26)
@pytest.mark.parametrize("workers", [0, 1])
def test_samples_of_several_shapes_are_named_with_the_place_where_they_differ(workers):
    text = told(DataLoader(Samples(ragged), batch_size=4, num_workers=workers), RuntimeError)
    assert "It was raised in putting samples 4, 5, 6, 7 of Samples into a batch." in text
    assert f"The samples differ at ['x']: float32 (4,) in sample 4 and float32 (3,) in sample 5. {REMEDY}" in text
    assert "pad_sequence" in text


@pytest.mark.parametrize("workers", [0, 1])
def test_an_own_collate_function_may_take_samples_that_differ(workers):
    text = told(DataLoader(Samples(ragged), batch_size=2, num_workers=workers, collate_fn=failing), KeyError)
    assert "It was raised in the loader's own collate_fn, for samples 0, 1 of Samples." in text
    assert "differ" not in text


@pytest.mark.parametrize("workers", [0, 1])
def test_a_stop_iteration_in_a_collate_function_does_not_end_the_pass(workers):
    text = told(DataLoader(Samples(ragged), batch_size=2, num_workers=workers, collate_fn=slipping), RuntimeError)
    assert "StopIteration was raised in the loader's own collate_fn, for samples 0, 1 of Samples, where it would look" in text


def test_samples_are_named_where_the_user_knows_them():
    text = told(DataLoader(Subset(Samples(ragged), [6, 5]), batch_size=2), RuntimeError)
    assert "samples 6, 5 of Samples" in text
    assert "float32 (4,) in sample 6 and float32 (3,) in sample 5" in text


def test_a_sample_without_a_batch_is_named():
    text = told(DataLoader(Samples(ragged), batch_size=None, collate_fn=failing), KeyError)
    assert "the loader's own collate_fn, for sample 0 of Samples." in text


def test_a_sample_that_torch_converts_by_itself():
    collate = NamedCollate(torch.utils.data.default_convert, Samples(ragged))
    assert collate(3) == 3
    text = told(None, TypeError, data=map(collate, [Converts()]))
    assert "It was raised in putting samples of Samples into a batch." in text


class Converts(tuple):
    """What torch cannot convert."""

    _fields = ("x",)

    def __new__(cls, *items):
        if items:
            raise TypeError("not again")
        return super().__new__(cls, [torch.ones(1)])


def test_where_indices_are_not_known_the_places_in_the_batch_are():
    text = told(DataLoader(Stream(), batch_size=2), RuntimeError)
    assert "It was raised in putting samples of Stream into a batch." in text
    assert "The samples differ: float32 (3,) in sample 0 and float32 (2,) in sample 1." in text


@pytest.mark.parametrize("workers", [0, 1])
def test_a_batch_without_samples_says_so(workers):
    text = told(DataLoader(Samples(float), batch_sampler=[[0, 1], []], num_workers=workers), IndexError)
    assert "It was raised in putting no samples of Samples into a batch." in text
    assert "The batch sampler of the loader gave a batch without indices. Leave such batches out there." in text
    assert "another exception occurred" not in text


def test_the_deterministic_engine_says_it_too():
    engine = DeterministicEngine(lambda engine, batch: None)
    with pytest.raises(RuntimeError) as info:
        engine.run(DataLoader(Samples(ragged), batch_size=4), max_epochs=1)
    assert any("samples 4, 5, 6, 7 of Samples" in note for note in info.value.__notes__)


def test_a_collate_function_that_works_is_left_alone():
    batches = list(ordered(DataLoader(Samples(lambda index: index), batch_size=3, collate_fn=tuple), seed=1))
    assert batches == [(0, 1, 2), (3, 4, 5), (6, 7)]


FAULTS = {
    "shape": ([torch.ones(2), torch.ones(2), torch.ones(3)], "differ: float32 (2,) in sample 'a' and float32 (3,) in sample 'c'."),
    "array": ([numpy.ones(2), numpy.ones(3)], "float64 (2,) in sample 'a' and float64 (3,) in sample 'b'."),
    "in a tuple": ([(1, torch.ones(2)), (1, torch.ones(3))], "differ at [1]: float32 (2,)"),
    "in a named tuple": ([Pair(1, [1, 2]), Pair(1, [1])], "differ at [1]: 2 items in sample 'a' and 1 in sample 'b'."),
    "deep": ([{"x": [{"y": 1}]}, {"x": [{"y": None}]}], "differ at ['x'][0]['y']: 1 in sample 'a' and None in sample 'b'."),
    "keys": ([{"x": 1, "y": 1}, {"x": 1}], "differ: the keys ['x', 'y'] in sample 'a' and ['x'] in sample 'b'."),
    "types": ([torch.ones(2), "two"], "differ: float32 (2,) in sample 'a' and 'two' in sample 'b'."),
    "long text": ([None, "x" * 1000], "differ: None in sample 'a' and 'xxxxxxxxxxxx...xxxxxxxxxxxxx' in sample 'b'."),
    "what only has a shape": ([Shaped()] * 2, "There is an object of type Shaped in sample 'a', of which"),
    "None": ([{"x": None}] * 2, "There is None in sample 'a' at ['x'], of which torch makes no batch. Convert it in the dataset"),
    "object": ([(1, object())] * 2, "There is an object of type object in sample 'a' at [1]"),
    "array of objects": ([numpy.array([None])] * 2, "There is object (1,) in sample 'a', of which"),
}


@pytest.mark.parametrize(("samples", "words"), FAULTS.values(), ids=FAULTS)
def test_faults(samples, words):
    assert words in find_fault(samples).text("abc")


@pytest.mark.parametrize("samples", [[1, 2.5], ["a", "bc"], [torch.ones(2)] * 3, [{"x": 1}, {"x": 2, "more": 3}], [(1, b"a")] * 2])
def test_what_torch_takes_has_no_fault(samples):
    assert find_fault(samples) is None
    torch.utils.data.default_collate(samples)
