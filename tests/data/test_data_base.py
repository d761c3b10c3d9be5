"""One pass after another: what all kinds of data have in common."""

import gc
import weakref

import pytest
from torch.utils.data import DataLoader

from framework.data import ordered
from framework.errors import DataError, ResumeError


class Fails:
    """Batches of which one fails, once."""

    def __init__(self):
        self.failed = False

    def __iter__(self):
        return self

    def __next__(self):
        if not self.failed:
            self.failed = True
            raise OSError("no route to host")
        return 1


def test_each_iter_is_the_next_pass():
    data = ordered([1, 2, 3], seed=0)
    epochs = [data.position()["epoch"] for _ in range(3) for _ in data]
    assert epochs == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_a_pass_that_is_left_early_is_over_when_the_next_begins():
    data = ordered([1, 2, 3], seed=0)
    for _ in data:
        break
    assert data.position() == {"epoch": 0, "samples": 1, "seed": 0, "length": 3}
    assert list(data) == [1, 2, 3]
    assert data.position() == {"epoch": 2, "samples": 0, "seed": 0, "length": 3}


def test_positions_before_inside_and_after_a_pass():
    data = ordered([1, 2], seed=0)
    assert data.position() == {"epoch": 0, "samples": 0, "seed": 0, "length": 2}
    batches = iter(data)
    assert data.position()["samples"] == 0
    next(batches)
    assert data.position()["samples"] == 1
    next(batches)
    assert data.position() == {"epoch": 0, "samples": 2, "seed": 0, "length": 2}
    assert data.position(ended=True) == {"epoch": 1, "samples": 0, "seed": 0, "length": 2}
    assert next(batches, None) is None
    assert data.position() == data.position(ended=True)


def test_a_clock_says_what_is_complete():
    data = ordered([1, 2, 3], seed=0)
    done = 40
    data.clock = lambda: done
    batches = iter(data)
    next(batches)
    next(batches)
    assert data.position()["samples"] == 0  # both are handed out, none is complete
    done += 2
    assert data.position()["samples"] == 2
    next(batches)
    assert next(batches, None) is None
    done += 1
    assert data.position() == {"epoch": 0, "samples": 3, "seed": 0, "length": 3}  # who has a clock says when a pass is over
    iter(data)
    assert data.position() == {"epoch": 1, "samples": 0, "seed": 0, "length": 3}
    data.load_position({"epoch": 4, "samples": 1, "seed": 0, "length": 3})
    iter(data)
    done += 1
    assert data.position() == {"epoch": 4, "samples": 2, "seed": 0, "length": 3}


def test_rewound_data_gives_the_first_pass_again_with_the_same_workers():
    data = ordered(DataLoader(range(8), shuffle=True, num_workers=1, persistent_workers=True), seed=0)
    first, second = list(data), list(data)
    (worker,) = data.workers()
    data.rewind()
    assert list(data) == first
    assert list(data) == second
    assert data.workers() == [worker]
    data.close()


@pytest.mark.fault(19)
def test_the_passes_go_on_from_a_loaded_position():
    data = ordered([1, 2, 3], seed=0)
    saved = {"epoch": 5, "samples": 3, "seed": 0, "length": 3}
    data.load_position(saved)
    assert data.position() == saved
    assert list(data) == []  # it was saved after the last batch, and nobody had said that the pass is over
    assert list(data) == [1, 2, 3]
    assert data.position()["epoch"] == 7


@pytest.mark.parametrize(
    ("saved", "message"),
    [
        ({"epoch": 0, "samples": 1, "seed": 8, "length": 3}, "saved with seed 8, and that of this data is 0"),
        ({"epoch": 0, "samples": 1, "seed": 0, "length": 4}, "saved with length 4, and that of this data is 3"),
        ({"epoch": 0, "samples": -1, "seed": 0, "length": 3}, "'samples' of a position is a whole number of at least 0, got -1"),
        ({"epoch": "1", "samples": 1, "seed": 0, "length": 3}, "'epoch' of a position is a whole number of at least 0, got '1'"),
        ({"epoch": 0, "state": {}}, r"has the entries \['epoch', 'length', 'samples', 'seed'\], got \['epoch', 'state'\]"),
        (None, "got None: it was saved with data of another kind"),
    ],
)
def test_a_position_of_other_data_is_refused_and_nothing_changes(saved, message):
    data = ordered([1, 2, 3], seed=0)
    with pytest.raises(ResumeError, match=message):
        data.load_position(saved)
    assert list(data) == [1, 2, 3]
    assert data.position()["epoch"] == 1


def test_a_fetch_that_raises_breaks_the_pass_off_instead_of_ending_it():
    data = ordered(Fails(), seed=0)
    batches = iter(data)
    with pytest.raises(OSError, match="no route to host"):
        next(batches)
    for _ in range(2):
        with pytest.raises(RuntimeError, match=r"broken off .* call data.load_position\(data.position\(\)\) and iter"):
            next(batches)
    assert data.position()["batches"] == 0


def test_two_loops_over_two_passes_at_a_time_are_refused():
    data = ordered([1, 2, 3], seed=0)
    one, other = iter(data), iter(data)
    with pytest.raises(RuntimeError, match=r"This pass ended when the next one began: iter\(\) was called again"):
        next(one)
    assert next(other) == 1


def test_where_opening_a_pass_fails_the_position_stays():
    class Closed(list):
        closed = False

        def __getitem__(self, index):
            return super().__getitem__(index)

        def __len__(self):
            if self.closed:
                raise OSError("closed")
            return super().__len__()

    given = Closed([1, 2, 3])
    data = ordered(given, seed=0)
    data.load_position({"epoch": 2, "samples": 1, "seed": 0, "length": 3})
    given.closed = True
    with pytest.raises(OSError, match="closed"):
        iter(data)
    given.closed = False
    assert data.position() == {"epoch": 2, "samples": 1, "seed": 0, "length": 3}
    assert list(data) == [2, 3]


def test_it_lives_as_long_as_a_loop_over_it_and_no_longer():
    data = ordered([1, 2, 3], seed=0)
    gone = weakref.ref(data)
    gc.disable()  # no cycle keeps it, and with it the workers, until a collection
    try:
        batches = iter(data)
        del data
        assert list(batches) == [1, 2, 3]
        assert gone() is not None
        del batches
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("data", [[1, None, 3], DataLoader([1, None, 3], batch_size=None, collate_fn=lambda sample: sample)])
def test_none_is_no_batch(data):
    data = ordered(data, seed=1)
    with pytest.raises(DataError, match=r"The data gave None as batch 2 of a pass\. A collate_fn or a generator that forgets"):
        list(data)
    data.name, data.clock = "train_data", lambda: 0
    batches = iter(data)
    next(batches)
    data.clock = lambda: 1
    with pytest.raises(DataError, match="train_data gave None as batch 2 of a pass"):
        next(batches)
