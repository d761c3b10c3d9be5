"""Random numbers through torch_xla: what torch.manual_seed does not reach is repeatable all the same."""

import pytest
import torch
from on_both import Net, curve
from torch import nn

from framework import XLA, seed_all, select_backend
from framework.seeding import RandomStream, random_state, set_random_state


class Dropping(Net):
    def __init__(self):
        super().__init__(width=12)
        self.layers.insert(2, nn.Dropout(0.5))


class Drawing(Dropping):
    """Draws random numbers on the device in validation too."""

    def evaluation_step(self, batch):
        return {"noise": torch.rand_like(batch[0]).mean()}


def draw():
    return torch.rand(3, device=select_backend("tpu").device).tolist()


@pytest.fixture
def losses(make_batches):
    """Returns the losses of a fit with dropout, of the same weights each time."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        start = Dropping().state_dict()

    def run(cls=Dropping, val=None, **kwargs):
        module = cls()
        module.load_state_dict(start)
        result = module.fit(make_batches(6), val, max_epochs=2, accelerator="tpu", log_every=1, progress=False, **kwargs)
        return curve(result).tolist()

    return run


def test_the_seed_of_fit_fixes_dropout(losses):
    first = losses(seed=1)
    assert losses(seed=1) == first
    assert losses(seed=2) != first


def test_seed_all_fixes_dropout(losses):
    seed_all(3)
    first = losses()
    assert losses() != first  # the stream goes on
    seed_all(3)
    assert losses() == first


def test_torch_manual_seed_counts_as_well_where_it_changes_the_seed(losses):
    torch.manual_seed(11)
    first = losses()
    torch.manual_seed(12)
    assert losses() != first
    torch.manual_seed(11)
    assert losses() == first


def test_validation_that_draws_numbers_does_not_change_training(losses, make_batches):
    without = losses(seed=1)
    assert losses(Drawing, make_batches(3), seed=1) == without
    assert losses(Drawing, make_batches(5), seed=1) == without


def test_validation_draws_the_same_numbers_each_time(make_batches):
    results = [
        Drawing().fit(make_batches(4), make_batches(3), max_epochs=3, accelerator="tpu", seed=4, progress=False) for _ in "ab"
    ]
    noise = [[row["val/noise"] for row in result.history] for result in results]
    assert noise[0] == noise[1]
    assert len(set(noise[0])) == 1


def test_a_state_can_be_put_back():
    seed_all(5)
    state = random_state()
    first, second = draw(), draw()
    assert first != second
    set_random_state(state)
    assert draw() == first


def test_a_state_without_that_of_torch_xla_leaves_it():
    state = random_state()
    expected = state.pop("xla")
    set_random_state(state)
    assert random_state()["xla"] == expected


def test_a_stream_of_its_own():
    seed_all(6)
    expected = draw()
    seed_all(6)
    with RandomStream(1):
        inside = draw()
    assert draw() == expected
    assert inside != expected


def test_waiting_for_the_device_draws_nothing():
    backend = XLA()
    state = random_state()["xla"]
    tensor = torch.ones(2, device=backend.device) * 3
    backend.synchronize()
    assert random_state()["xla"] == state
    assert tensor.tolist() == [3.0, 3.0]
