"""The shuffled order of a pass."""

import torch

from framework.data import order
from framework.seeding import derive_seed


def test_it_is_torchs_permutation_under_the_seed_of_the_pass():
    expected = torch.randperm(50, generator=torch.Generator().manual_seed(derive_seed(3, 2)))
    assert order(50, seed=3, epoch=2) == expected.tolist()


def test_seed_and_pass_both_change_it_and_nothing_is_drawn_from_the_global_stream():
    before = torch.get_rng_state()
    first, other_seed, other_pass = order(50, 3, 0), order(50, 4, 0), order(50, 3, 1)
    assert sorted(first) == sorted(other_seed) == sorted(other_pass) == list(range(50))
    assert first not in (other_seed, other_pass)
    assert torch.equal(before, torch.get_rng_state())
