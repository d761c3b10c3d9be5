import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset

from framework.engine import Engine, Events
from framework.engine.user_stop import refuse_user_stop_iteration, stray_stop_iteration

contract = pytest.mark.contract


def slip(*args):
    """Lets a StopIteration escape, as `next(iterator)` in user code does."""
    return next(iter(()))


class Slipping(Dataset):
    """Four samples of which the third lets a StopIteration escape."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        if index == 2:
            raise StopIteration
        return index


class SlippingBatches(Slipping):
    def __getitems__(self, indices):
        return [self[index] for index in indices]


class Counting(IterableDataset):
    """An honest iterable dataset: its `__next__` tells the end, in a function that it calls."""

    def __init__(self, length):
        self._length = length

    def __iter__(self):
        self._left = iter(range(self._length))
        return self

    def __next__(self):
        return self._read()

    def _read(self):
        return next(self._left)


@contract("i")
def test_of_the_step():
    with pytest.raises(RuntimeError, match=r"StopIteration was raised in slip \(.*test_user_stop.py, line \d+\)") as raised:
        Engine(slip).run(range(3))
    assert isinstance(raised.value.__cause__, StopIteration)


@contract("i")
@pytest.mark.parametrize("event", [event for event in Events if event not in ("EXCEPTION_RAISED", "INTERRUPT")])
def test_of_a_handler(engine, at, event):
    engine.add_event_handler(event, slip)
    if event in ("TERMINATE", "TERMINATE_SINGLE_EPOCH"):
        at(engine, Events.ITERATION_COMPLETED, Engine.terminate if event == "TERMINATE" else Engine.terminate_epoch)
    with pytest.raises(RuntimeError, match="StopIteration was raised in slip"):
        engine.run(range(3), epoch_length=4)


@contract("i")
def test_of_a_filter(engine):
    engine.add_event_handler(Events.ITERATION_STARTED(event_filter=lambda engine, count: slip()), print)
    with pytest.raises(RuntimeError, match="StopIteration was raised in slip"):
        engine.run(range(3))


@contract("i")
@pytest.mark.parametrize("dataset", [Slipping, SlippingBatches])
@pytest.mark.parametrize("batch_size", [None, 1, 2])
def test_of_a_dataset(engine, dataset, batch_size):
    with pytest.raises(RuntimeError, match="StopIteration was raised in __getitem__") as raised:
        engine.run(DataLoader(dataset(), batch_size=batch_size))
    assert isinstance(raised.value.__cause__, StopIteration)


@contract("i")
def test_of_a_dataset_in_a_worker_process(engine):
    batches = iter(DataLoader(Slipping(), batch_size=1, num_workers=1))
    with pytest.raises(RuntimeError, match=r"StopIteration was raised in a worker of the DataLoader:[\s\S]*__getitem__"):
        engine.run(batches)
    batches._shutdown_workers()  # at once; when the garbage collector does it, it takes seconds


@contract("i")
def test_of_a_collate_function(engine):
    with pytest.raises(RuntimeError, match="StopIteration was raised in slip"):
        engine.run(DataLoader(range(4), batch_size=2, collate_fn=slip))


@contract("i")
def test_of_the_data_as_it_is_opened(engine):
    class Data:
        __iter__ = slip

    with pytest.raises(RuntimeError, match="StopIteration was raised in slip"):
        engine.run(Data())


@contract("i")
def test_it_reaches_the_exception_handlers_as_the_error_it_became():
    caught, engine = [], Engine(slip)
    engine.add_event_handler(Events.EXCEPTION_RAISED, lambda e: caught.append((type(e), type(e.__cause__))))
    engine.run(range(3))
    assert caught == [(RuntimeError, StopIteration)]


@pytest.mark.parametrize("batch_size", [None, 1, 2])
def test_the_end_of_the_data_is_none_of_it(engine, batch_size):
    state = engine.run(DataLoader(Counting(4), batch_size=batch_size), max_epochs=2)
    assert state.iteration == 2 * (4 if batch_size is None else 4 // batch_size)
    assert torch.equal(torch.as_tensor(state.batch).flatten()[-1], torch.tensor(3))


def caught(function):
    """Returns the StopIteration that `function()` raises."""
    try:
        function()
    except StopIteration as end:
        return end


def test_an_honest_end_is_let_through():
    assert refuse_user_stop_iteration(caught(Counting(0).__iter__().__next__)) is None


def test_the_error_names_the_place():
    assert "StopIteration was raised in slip (" in str(stray_stop_iteration(caught(slip)))
