"""Saved tensors where nothing is split; what happens between processes is in tests/distributed/test_sharded_resume.py."""

from collections import Counter, OrderedDict

import pytest
import torch
from torch import nn

from framework.module.resuming.placing import load_module, mesh_of, placed_by_name, placed_by_shape, placed_like


def test_what_is_whole_on_both_sides_is_taken_as_it_is():
    saved = torch.ones(2)
    assert placed_like(saved, torch.zeros(2)) is saved
    assert mesh_of({"w": saved, "n": 1}) is None
    state = {"w": saved, "rest": [saved, (1, {2: saved})], "count": Counter("aab"), "text": "x"}
    for placed in (placed_by_shape(state, torch.zeros(2)), placed_by_name(state, {"w": torch.zeros(2), "count": torch.zeros(3)})):
        assert placed == state
        assert type(placed["count"]) is Counter
        assert placed["w"] is placed["rest"][0] is placed["rest"][1][1][2] is saved


def test_a_module_keeps_its_parameters_and_its_own_way_to_load():
    seen = []

    class Own(nn.Linear):
        def load_state_dict(self, state_dict, strict=True, assign=False):
            seen.append((list(state_dict), strict))
            return super().load_state_dict(state_dict, strict, assign)

    module, saved = Own(2, 1), OrderedDict(weight=torch.ones(1, 2), bias=torch.ones(1))
    parameters = list(module.parameters())
    load_module(module, saved)
    load_module(module, {"bias": torch.zeros(1), "other": 1}, strict=False)
    assert seen == [(["weight", "bias"], True), (["bias", "other"], False)]
    assert all(one is other for one, other in zip(module.parameters(), parameters, strict=True))
    assert (module.weight.tolist(), module.bias.tolist()) == ([[1, 1]], [0])
    with pytest.raises(RuntimeError, match="size mismatch for bias"):
        load_module(module, {"bias": torch.ones(2)}, strict=False)


def test_a_lazy_module_takes_its_shapes_from_what_was_saved():
    module = nn.LazyLinear(1)
    load_module(module, nn.Linear(3, 1).state_dict())
    assert module.weight.shape == (1, 3)
