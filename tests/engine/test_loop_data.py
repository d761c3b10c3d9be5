from itertools import count

import pytest
import torch
from torch.utils.data import DataLoader

from framework.engine import Engine, Events

contract = pytest.mark.contract

USED_UP = "Data iterator can not provide data anymore but required total number of iterations to run is not reached"


def batches_of(data, **arguments):
    """Returns the batches that a run of a new engine steps through, epoch by epoch."""
    epochs, engine = [], Engine(lambda engine, batch: epochs[-1].append(batch))
    engine.add_event_handler(Events.EPOCH_STARTED, lambda: epochs.append([]))
    engine.run(data, **arguments)
    return epochs


class Opened:
    """Batches 0, 1, ... that count how often they are iterated over."""

    def __init__(self, length):
        self.times, self._length = 0, length

    def __iter__(self):
        self.times += 1
        return iter(range(self._length))


@contract(45)
@pytest.mark.parametrize(("length", "epoch_length", "epochs"), [(3, 7, 2), (3, 4, 3), (1, 5, 2), (4, 4, 3), (5, 3, 4), (3, 6, 2)])
def test_data_that_ends_is_started_anew(traced, length, epoch_length, epochs):
    total = epoch_length * epochs
    engine, trace = traced()
    engine.run(list(range(length)), max_epochs=epochs, epoch_length=epoch_length)
    assert trace.count("DATALOADER_STOP_ITERATION") == total // length - (total % length == 0)
    assert trace.count("GET_BATCH_STARTED") == trace.count("GET_BATCH_COMPLETED") == total


@contract(45)
def test_the_iteration_in_which_the_data_ends_goes_on(traced):
    engine, trace = traced()
    engine.run([0], epoch_length=2)
    second = trace.index("DATALOADER_STOP_ITERATION")
    assert trace[second - 1 : second + 3] == [
        "GET_BATCH_STARTED",
        "DATALOADER_STOP_ITERATION",
        "GET_BATCH_COMPLETED",
        "ITERATION_STARTED",
    ]
    assert trace.count("GET_BATCH_STARTED") == 2


@contract(45)
def test_what_the_handler_put_into_the_state_is_opened(engine):
    outputs = []
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: outputs.append(engine.state.output))
    engine.add_event_handler(Events.DATALOADER_STOP_ITERATION, lambda engine: setattr(engine.state, "dataloader", iter([7, 8, 9])))
    engine.run([1, 2], epoch_length=6)
    assert outputs == [1, 2, 7, 8, 9, 7]


@contract(46)
def test_the_data_carries_over_epochs():
    data = Opened(7)
    assert batches_of(data, max_epochs=3, epoch_length=3) == [[0, 1, 2], [3, 4, 5], [6, 0, 1]]
    assert data.times == 2


@contract(47)
def test_one_pass_over_data_of_unknown_length_sets_the_epoch_length(traced):
    engine, trace = traced()
    lengths = []
    engine.add_event_handler(Events.EPOCH_COMPLETED, lambda engine: lengths.append(engine.state.epoch_length))
    assert engine.state.epoch_length is None
    state = engine.run(Opened(3), max_epochs=3)

    assert lengths == [3, 3, 3]
    assert state.iteration == 9
    first = trace[: trace.index("EPOCH_COMPLETED")]
    assert "DATALOADER_STOP_ITERATION" not in first
    assert first.count("GET_BATCH_STARTED") == 4
    assert trace.count("DATALOADER_STOP_ITERATION") == 2


@contract(47)
@pytest.mark.parametrize("event", [Events.DATALOADER_STOP_ITERATION, Events.ITERATION_COMPLETED(every=3)])
def test_a_handler_refills_a_finite_iterator(engine, event):
    engine.add_event_handler(event, lambda engine: setattr(engine.state, "dataloader", iter(range(3))))
    state = engine.run(iter(range(3)), max_epochs=4)
    assert (state.epoch, state.iteration, state.epoch_length, state.output) == (4, 12, 3, 2)


@contract(47)
def test_set_data_refills_too(engine):
    engine.add_event_handler(Events.DATALOADER_STOP_ITERATION, lambda engine: engine.set_data(iter(range(3))))
    assert engine.run(iter(range(3)), max_epochs=4).iteration == 12


@contract(48)
def test_setting_used_up_data_again_and_again_comes_to_an_end(engine):
    engine.add_event_handler(Events.DATALOADER_STOP_ITERATION, lambda engine: engine.set_data(iter(())))
    with pytest.warns(UserWarning, match=USED_UP):
        assert engine.run(iter(range(3)), max_epochs=3, epoch_length=3).iteration == 3


@contract(48)
def test_after_used_up_data_epochs_pass_without_iterations(traced):
    engine, trace = traced()
    with pytest.warns(UserWarning, match=rf"{USED_UP}\. Current iteration: 7 vs Total iterations to run : 20"):
        state = engine.run(iter(range(7)), max_epochs=4, epoch_length=5)

    assert (state.epoch, state.iteration, state.output, state.batch) == (4, 7, 6, None)
    assert trace.count("EPOCH_STARTED") == trace.count("EPOCH_COMPLETED") == 4
    assert trace[-5:] == ["EPOCH_STARTED", "GET_BATCH_STARTED", "DATALOADER_STOP_ITERATION", "EPOCH_COMPLETED", "COMPLETED"]


@contract(48)
def test_in_the_last_epoch_used_up_data_is_no_matter(engine):
    state = engine.run(iter(range(12)), max_epochs=3, epoch_length=5)
    assert (state.epoch, state.iteration, state.output) == (3, 12, 11)


@contract(48)
def test_data_used_up_before_the_first_batch_leaves_the_output_of_the_last_run(engine):
    engine.run(range(3))
    with pytest.warns(UserWarning, match=USED_UP):
        assert engine.run(iter(()), max_epochs=3).output == 2


@contract("b", 64)
@pytest.mark.parametrize("epoch_length", [None, 4, 5, 100])
def test_used_up_data_ends_a_run_of_so_many_iterations(traced, epoch_length):
    engine, trace = traced()
    with pytest.warns(UserWarning, match=USED_UP):
        state = engine.run(iter(range(15)), max_iters=20, epoch_length=epoch_length)
    assert (state.iteration, state.output) == (15, 14)
    assert trace[-2:] == ["EPOCH_COMPLETED", "COMPLETED"]


@contract(49)
def test_endless_data_with_an_epoch_length():
    assert batches_of(count(), max_epochs=2, epoch_length=3) == [[0, 1, 2], [3, 4, 5]]


@contract(49)
def test_endless_data_without_an_epoch_length_ends_by_request(engine):
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=5), lambda engine: engine.terminate())
    state = engine.run(count(), max_epochs=9)
    assert (state.epoch, state.iteration, state.epoch_length) == (1, 5, None)


@contract(50)
@pytest.mark.parametrize("batch_size", [None, 2])
def test_a_loader_is_started_anew(batch_size):
    batches = batches_of(DataLoader(torch.arange(4), batch_size=batch_size), epoch_length=7)[0]
    expected = [0, 1, 2, 3, 0, 1, 2] if batch_size is None else [[0, 1], [2, 3]] * 3 + [[0, 1]]
    assert [batch.tolist() for batch in batches] == expected


@contract(52)
@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (Events.STARTED, [10, 11, 12, 10, 11, 12]),
        (Events.EPOCH_STARTED(once=2), [0, 1, 2, 10, 11, 12]),
        (Events.GET_BATCH_STARTED(once=1), [0, 10, 11, 12, 10, 11]),
        (Events.GET_BATCH_COMPLETED(once=1), [0, 1, 10, 11, 12, 10]),
        (Events.ITERATION_STARTED(once=2), [0, 1, 10, 11, 12, 10]),
        (Events.ITERATION_COMPLETED(once=2), [0, 1, 10, 11, 12, 10]),
        (Events.EPOCH_COMPLETED(once=1), [0, 1, 2, 10, 11, 12]),
    ],
)
def test_set_data_gives_the_next_batch_and_keeps_the_epoch_length(event, expected):
    outputs, engine = [], Engine(lambda engine, batch: outputs.append(batch))
    engine.add_event_handler(event, lambda engine: engine.set_data(range(10, 13)) if engine.state.dataloader == range(4) else None)
    state = engine.run(range(4), max_epochs=2, epoch_length=3)
    assert outputs == expected
    assert (state.epoch_length, state.dataloader) == (3, range(10, 13))


@contract(52)
def test_the_step_itself_may_set_data():
    outputs = []

    def step(engine, batch):
        outputs.append(batch)
        if batch == 1:
            engine.set_data([7, 8])

    Engine(step).run(range(4))
    assert outputs == [0, 1, 7, 8]


@contract(52)
@pytest.mark.parametrize(("data", "error"), [(3, TypeError), (None, TypeError), ([], ValueError)])
def test_set_data_refuses_what_run_refuses(engine, data, error):
    with pytest.raises(error, match=r"Argument data should be iterable|Input data has zero size"):
        engine.set_data(data)


@contract(48)
def test_an_iterator_used_up_in_a_broken_epoch_is_not_called_empty(engine, at):
    at(engine, Events.ITERATION_COMPLETED, Engine.terminate_epoch, 3)
    with pytest.warns(UserWarning, match=r"Current iteration: 3 vs Total iterations to run : unknown"):
        state = engine.run(iter(range(3)), max_epochs=3)
    assert (state.epoch, state.iteration, state.epoch_length) == (3, 3, None)


@contract(41)
def test_data_that_turns_out_to_be_empty_is_refused(engine):
    with pytest.raises(ValueError, match=r"Input data has zero size\. Please provide non-empty data; generator gave no batch"):
        engine.run(batch for batch in ())
