import random
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from framework import seed_all
from framework.seeding import RandomStream, random_state, set_random_state


def draw():
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def test_a_seed_fixes_python_numpy_and_torch():
    seed_all(3)
    first = draw()
    seed_all(3)
    assert draw() == first
    seed_all(4)
    assert all(one != other for one, other in zip(draw(), first, strict=True))


def test_a_seed_is_the_same_as_each_librarys_own():
    seed_all(5)
    drawn = draw()
    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)
    assert draw() == drawn


@pytest.mark.parametrize("seed", [0, 2**32, 2**63 - 1])
def test_the_whole_range_is_allowed(seed):
    seed_all(seed)
    assert torch.initial_seed() == seed


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_out_of_range(seed):
    with pytest.raises(ValueError, match=rf"A seed is an integer from 0 to 2\*\*63 - 1, got {seed}"):
        seed_all(seed)


@pytest.mark.parametrize("seed", [1.0, "1", None, True])
def test_no_integer(seed):
    with pytest.raises(TypeError, match=r"A seed is an integer from 0 to 2\*\*63 - 1, got"):
        seed_all(seed)


def test_a_state_can_be_put_back():
    before = random_state()
    first = draw()
    assert draw() != first
    set_random_state(before)
    assert draw() == first


def test_a_stream_leaves_the_global_generators_as_they_were():
    before = random_state()
    expected = draw()
    set_random_state(before)
    with RandomStream(1):
        inside = draw()
    assert draw() == expected
    assert inside != expected


def test_a_stream_goes_on_where_it_stopped():
    stream = RandomStream(1)
    with stream:
        first = draw()
    draw()
    with stream:
        second = draw()
    with RandomStream(1):
        assert (draw(), draw()) == (first, second)


def test_a_stream_puts_everything_back_after_an_error():
    before = random_state()
    expected = draw()
    set_random_state(before)
    with pytest.raises(ZeroDivisionError), RandomStream(1):
        assert draw()[0] / 0
    assert draw() == expected


@pytest.mark.parametrize("seed", [2**64 - 1, 2**63 + 5, 0])
def test_a_stream_starts_from_any_seed_that_torch_may_have(seed):
    with RandomStream(seed):
        first = draw()
    with RandomStream(seed % 2**63):
        assert draw() == first


def test_without_numpy_there_is_nothing_of_it_to_seed_or_keep(monkeypatch):
    monkeypatch.delitem(sys.modules, "numpy")
    monkeypatch.delitem(sys.modules, "torch_xla", raising=False)
    seed_all(1)
    assert set(random_state()) == {"python", "torch"}


def test_the_streams_of_devices_in_use_are_kept(monkeypatch):
    states = {"cuda": [torch.zeros(3)], "mps": torch.ones(3)}
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_rng_state_all", lambda: states["cuda"])
    monkeypatch.setattr(torch.cuda, "set_rng_state_all", lambda given: states.update(cuda=given))
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.mps, "get_rng_state", lambda: states["mps"])
    monkeypatch.setattr(torch.mps, "set_rng_state", lambda given: states.update(mps=given))
    kept = random_state()
    states.clear()
    set_random_state(kept)
    assert torch.equal(states["cuda"][0], torch.zeros(3))
    assert torch.equal(states["mps"], torch.ones(3))


@pytest.fixture
def torch_xla(monkeypatch):
    """A stand-in; what the real one draws is tested in tests/xla."""
    generator = SimpleNamespace(started=True, seed=7)
    monkeypatch.setitem(
        sys.modules, "torch_xla", SimpleNamespace(_XLAC=SimpleNamespace(_xla_runtime_is_initialized=lambda: generator.started))
    )
    model = SimpleNamespace(get_rng_state=lambda: generator.seed, set_rng_state=lambda seed: setattr(generator, "seed", seed))
    monkeypatch.setitem(sys.modules, "torch_xla.core.xla_model", model)
    return generator


def test_torch_xla_is_seeded_and_kept_where_it_has_started(torch_xla):
    seed_all(3)
    assert torch_xla.seed == random_state()["xla"] == 3
    with RandomStream(5):
        assert torch_xla.seed == 5
    assert torch_xla.seed == 3


def test_torch_xla_is_not_started_by_a_question(torch_xla):
    kept = random_state()
    torch_xla.started = False
    seed_all(3)
    assert "xla" not in random_state()
    set_random_state(kept)
    assert torch_xla.seed == 7
