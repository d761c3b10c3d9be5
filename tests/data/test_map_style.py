"""Passes over a map-style DataLoader: what they keep of it, and what they know."""

import random

import pytest
import torch
from augmented import Augmented, equal, indices, same, scramble, states
from loaders import KINDS, read, resumed, stopped_at
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, get_worker_info

from framework.data import order, ordered
from framework.errors import ResumeError


class Endless:
    """Batches of drawn sizes, without end."""

    def __iter__(self):
        while True:
            yield torch.randint(20, (random.randint(1, 5),)).tolist()


class Counts:
    """An order that its state determines."""

    def __init__(self):
        self.passes = 0

    def __iter__(self):
        first = self.passes * 100
        yield from range(first, first + 10)
        self.passes += 1

    def __len__(self):
        return 10

    def state_dict(self):
        return {"passes": self.passes}

    def load_state_dict(self, state):
        self.passes = state["passes"]


def test_passes_differ_in_order_and_augmentation_and_so_do_batches():
    first, second = read(ordered(KINDS["shuffled"](40, batch_size=4), 7))
    assert indices(first) == order(40, seed=7, epoch=0)
    assert indices(second) == order(40, seed=7, epoch=1)
    drawn = torch.cat([*first, *second])[:, 1:]
    assert len(drawn.unique(dim=0)) == 80


def test_a_seed_a_sample_does_not_depend_on_the_batch_size():
    small, large = (torch.cat(list(ordered(KINDS["shuffled"](23, batch_size=size), 7, seeding="sample"))) for size in (2, 5))
    assert torch.equal(small, large)


@pytest.mark.parametrize("workers", [0, 2])
def test_the_global_streams_stay_as_they_are_and_what_is_drawn_between_batches_is_the_users(workers):
    scramble()
    before = states()
    data = ordered(KINDS["custom"](23, batch_size=4, num_workers=workers), 7)
    list(data)
    assert same(before, states())
    expected = torch.rand(6)
    torch.set_rng_state(before["torch"])
    drawn = [torch.rand(()) for _ in data]
    assert torch.equal(torch.stack(drawn), expected)
    data.close()


@pytest.mark.parametrize("workers", [0, 2])
def test_the_users_loader_is_untouched(workers):
    loader = KINDS["shuffled"](23, batch_size=4, num_workers=workers, generator=torch.Generator().manual_seed(3))
    before = dict(vars(loader))
    state = loader.generator.get_state()
    data = ordered(loader, 7)
    assert sorted(indices(list(data))) == list(range(23))
    data.close()
    assert vars(loader) == before
    assert torch.equal(loader.generator.get_state(), state)
    assert indices(list(loader)) == indices(list(DataLoader(Augmented(), 4, True, generator=torch.Generator().manual_seed(3))))


def test_settings_are_kept():
    class Special(DataLoader):
        pass

    loader = Special(list(range(10)), batch_size=4, collate_fn=sum, drop_last=True)
    data = ordered(loader, 7)
    assert len(data) == 2
    assert list(data) == [6, 22]


@pytest.mark.parametrize("workers", [0, 2])
def test_endless_batches_of_the_users(workers):
    def make():
        return DataLoader(Augmented(20), batch_sampler=Endless(), num_workers=workers)

    data = ordered(make(), 7)
    reading = iter(data)
    first = [next(reading) for _ in range(30)]
    position = data.position()
    assert position == {"epoch": 0, "samples": sum(map(len, first)), "seed": 7, "length": 20}
    following = [next(reading) for _ in range(5)]
    again = resumed(make, position)
    reading = iter(again)
    assert equal([next(reading) for _ in range(5)], following)
    data.close()
    again.close()


@pytest.mark.parametrize("stop", [0, 3, 10])
def test_a_samplers_state_at_the_start_of_the_pass_is_part_of_the_position(stop):
    def make():
        return DataLoader(Keys(), sampler=Counts(), batch_size=2)

    class Keys:
        def __getitem__(self, key):
            return key

    whole = [[batch.tolist() for batch in one] for one in read(ordered(make(), 7), passes=3)]
    data = ordered(make(), 7)
    list(data)
    reading = iter(data)
    for _ in range(stop // 2):
        next(reading)
    position = data.position()
    assert position == {"epoch": 1, "samples": stop // 2 * 2, "seed": 7, "length": 0, "sampler": {"passes": 1}}
    again = resumed(make, position)
    assert [batch.tolist() for batch in again] == whole[1][stop // 2 :]
    assert [batch.tolist() for batch in again] == whole[2]


def test_the_state_after_the_last_batch_is_that_of_the_next_pass():
    data = ordered(DataLoader(range(10), sampler=Counts(), batch_size=5), 7)
    reading = iter(data)
    next(reading), next(reading)
    assert data.position(ended=True) == {"epoch": 1, "samples": 0, "seed": 7, "length": 10, "sampler": {"passes": 1}}


def test_a_larger_batch_goes_on_with_the_same_samples():
    saved = stopped_at(lambda: KINDS["shuffled"](24, batch_size=4), 2)
    again = resumed(lambda: KINDS["shuffled"](24, batch_size=8), saved)
    assert indices(list(again)) == order(24, seed=7, epoch=0)[8:]


@pytest.mark.parametrize("options", [lambda data: {}, lambda data: {"sampler": BatchSampler(RandomSampler(data), 4, False)}])
def test_loaders_without_batches_of_their_own(options):
    class Rows(Augmented):
        def __getitem__(self, index):
            return super().__getitem__(index) if isinstance(index, int) else torch.stack([self[each] for each in index])

    def make():
        return DataLoader(Rows(), batch_size=None, **options(Rows()))

    whole = list(ordered(make(), 7))
    assert equal(list(resumed(make, stopped_at(make, 3))), whole[3:])


@pytest.mark.fault(35)
def test_another_seed_or_length_is_refused():
    saved = stopped_at(lambda: KINDS["shuffled"](23, batch_size=4), 2)
    with pytest.raises(ResumeError, match="saved with seed 7, and that of this data is 8"):
        resumed(lambda: KINDS["shuffled"](23, batch_size=4), saved, seed=8)
    with pytest.raises(ResumeError, match="saved with length 23, and that of this data is 24"):
        resumed(lambda: KINDS["shuffled"](24, batch_size=4), saved)


def test_a_line_says_what_is_replaced():
    assert ordered(KINDS["in order"](4), 7).describe() is None
    assert ordered(KINDS["custom"](4), 7).describe() is None
    assert ordered(KINDS["shuffled"](4), 7).describe() is None
    assert ordered(KINDS["replaced"](4), 7).describe() == "RandomSampler -> order by seed and pass"
    assert ordered(KINDS["shuffled"](4, generator=torch.Generator()), 7).describe() == "RandomSampler -> order by seed and pass"
    loader = KINDS["weighted"](4, num_workers=1, in_order=False)
    assert ordered(loader, 7).describe() == "WeightedRandomSampler -> order by seed and pass; in_order=False -> True"


@pytest.mark.parametrize("workers", [0, 2])
def test_the_indices_of_the_latest_batches_are_known(workers):
    data = ordered(KINDS["shuffled"](600, batch_size=2, num_workers=workers), 7)
    assert data.indices_at(0) is None
    expected = order(600, seed=7, epoch=0)
    for position, _ in enumerate(data):
        assert data.indices_at(position) == expected[2 * position : 2 * position + 2]
    assert data.indices_at(250) == expected[500:502]
    assert data.indices_at(50) is None
    assert data.indices_at(300) is None
    data.close()


def test_the_index_of_a_loader_without_batches_is_known():
    data = ordered(KINDS["shuffled"](23, batch_size=None), 7)
    reading = iter(data)
    next(reading)
    assert data.indices_at(0) == order(23, seed=7, epoch=0)[:1]


def test_a_clock_that_counts_something_else_is_found():
    data = ordered(KINDS["shuffled"](23, batch_size=4), 7)
    done = 0
    data.clock = lambda: done
    iter(data)
    done = 5
    with pytest.raises(AssertionError, match="the clock counts 5 batches of a pass that has not come so far"):
        data.position()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_fetch_that_was_broken_off_loses_no_batch(workers):
    def make():
        return KINDS["shuffled"](23, batch_size=4, num_workers=workers, persistent_workers=workers > 0)

    whole = list(ordered(make(), 7))
    data = ordered(make(), 7)
    assert data.reads_ahead_safely
    reading = iter(data)
    seen = [next(reading) for _ in range(2)]
    fetch = data._state[0].fetch

    def interrupted():
        fetch()
        raise KeyboardInterrupt

    data._state[0].fetch = interrupted
    with pytest.raises(KeyboardInterrupt):
        next(reading)
    data.load_position(data.position())
    assert equal(seen + list(data), whole)
    data.close()


def test_workers_are_not_used_again_after_a_fetch_that_was_broken_off():
    data = ordered(KINDS["shuffled"](23, batch_size=4, num_workers=1, persistent_workers=True), 7)
    list(data)
    (before,) = data.workers()
    reading = iter(data)
    assert data.workers() == [before]

    def interrupted():
        raise KeyboardInterrupt

    data._state[0].fetch = interrupted
    with pytest.raises(KeyboardInterrupt):
        next(reading)
    assert indices(list(data)) == order(23, seed=7, epoch=2)
    assert before not in data.workers()
    data.close()


def first_seed(samples):
    return get_worker_info().seed


def test_the_first_seed_of_a_worker_follows_from_seed_and_pass():
    def make():
        return KINDS["shuffled"](4, batch_size=4, num_workers=1, collate_fn=first_seed)

    data = ordered(make(), 7)
    first, second = list(data), list(data)
    assert first != second
    again = resumed(make, {"epoch": 1, "samples": 0, "seed": 7, "length": 4})
    assert list(again) == second
    data.close()
    again.close()
