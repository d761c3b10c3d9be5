"""Passes over a map-style DataLoader, taken up anywhere."""

import pytest
import torch
from augmented import Augmented, equal, indices, same, scramble, states
from hypothesis import given, settings, strategies as st
from loaders import KINDS, read, resumed, stopped_at
from torch.utils.data import DataLoader

from framework.data import ordered

# Three workers are more than the two cores of a small machine.
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create 3 worker processes")


@pytest.mark.fault(15, 17, 19)
@given(
    kind=st.sampled_from(sorted(KINDS)),
    n=st.integers(1, 40),
    batch_size=st.one_of(st.none(), st.integers(1, 9)),
    drop_last=st.booleans(),
    seeding=st.sampled_from(["batch", "sample"]),
    data=st.data(),
)
@settings(max_examples=80, deadline=None, derandomize=True, database=None)
def test_the_rest_is_the_same_from_any_batch_on(kind, n, batch_size, drop_last, seeding, data):
    def make():
        kept = {"collate_fn": torch.stack} if batch_size is not None else {}
        return KINDS[kind](n, batch_size=batch_size, drop_last=drop_last and batch_size is not None, **kept)

    whole = read(ordered(make(), 7, seeding=seeding), passes=3)
    number = data.draw(st.integers(0, 1), label="pass")
    stop = data.draw(st.integers(0, len(whole[number])), label="batches before")
    scramble()
    before = states()
    saved = stopped_at(make, stop, passes_before=number, seeding=seeding)
    assert same(before, states())
    assert saved["epoch"] == number
    assert all(type(value) is int for value in saved.values())
    assert len(saved) == 4
    again = resumed(make, saved, seeding=seeding)
    assert equal(list(again), whole[number][stop:])
    assert equal(list(again), whole[number + 1])


WORKERS = {"2->0": (2, 0), "0->3": (0, 3), "2->3": (2, 3)}


@pytest.mark.fault(15, 17, 18)
@pytest.mark.parametrize("change", WORKERS)
@pytest.mark.parametrize("seeding", ["batch", "sample"])
def test_the_number_of_workers_may_change(change, seeding):
    first, second = WORKERS[change]

    def make(workers=0):
        return DataLoader(Augmented(), batch_size=4, shuffle=True, num_workers=workers, persistent_workers=workers == 2)

    whole = read(ordered(make(), 7, seeding=seeding))
    saved = stopped_at(lambda: make(first), 3, seeding=seeding)
    assert saved == {"epoch": 0, "samples": 12, "seed": 7, "length": 23}
    again = resumed(lambda: make(second), saved, seeding=seeding)
    assert equal(list(again), whole[0][3:])
    assert equal(list(again), whole[1])
    again.close()


@pytest.mark.fault(19)
def test_three_resumes_in_one_pass():
    def make():
        return KINDS["shuffled"](23, batch_size=4)

    whole = read(ordered(make(), 7))
    seen, saved = [], ordered(make(), 7).position()
    for take in (1, 2, 2, 1):
        data = resumed(make, saved)
        reading = iter(data)
        seen += [next(reading) for _ in range(take)]
        saved = data.position()
    assert equal(seen, whole[0])
    assert sorted(indices(seen)) == list(range(23))


@pytest.mark.fault(19)
@pytest.mark.parametrize("workers", [0, 1])
def test_stopped_after_the_last_batch_no_pass_is_empty_or_doubled(workers):
    def make():
        return KINDS["shuffled"](8, batch_size=4, num_workers=workers)

    whole = read(ordered(make(), 7))
    data = ordered(make(), 7)
    reading = iter(data)
    for _ in range(2):
        next(reading)
    assert data.position() == {"epoch": 0, "samples": 8, "seed": 7, "length": 8}
    ended = data.position(ended=True)
    assert ended == {"epoch": 1, "samples": 0, "seed": 7, "length": 8}
    data.close()
    again = resumed(make, ended)
    assert equal(list(again), whole[1])
    again.close()
