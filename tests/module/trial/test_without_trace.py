"""A block that leaves everything as it was, whatever happens in it. Whole modules are in test_find_lr and tests/flows."""

import random

import pytest
import torch
from torch.utils.data import DataLoader, RandomSampler

from framework.backends import Plain
from framework.handlers import EarlyStopping
from framework.module.trial.without_trace import without_trace


class Reading:
    """Data that keeps its place."""

    def __init__(self):
        self.place = 3

    def state_dict(self):
        return {"place": self.place}

    def load_state_dict(self, state):
        self.place = state["place"]


@pytest.mark.parametrize("error", [None, KeyboardInterrupt], ids=["a good end", "an error"])
def test_weights_handlers_data_and_random_streams_are_put_back(line, error):
    module, reading, stopping = line(), Reading(), EarlyStopping("val/loss")
    loader = DataLoader(range(4), sampler=RandomSampler(range(4), generator=torch.Generator().manual_seed(1)))
    loader.generator = torch.Generator().manual_seed(2)

    def state():
        streams = (torch.get_rng_state(), loader.generator.get_state(), loader.sampler.generator.get_state())
        tensors = [*(each.detach().clone() for each in module.parameters()), *streams]
        return [each.tolist() for each in tensors], random.getstate(), reading.place, stopping.state_dict(), module.training

    before = state()
    try:
        with without_trace(module, Plain(torch.device("cpu")), [loader, reading], [stopping]):
            torch.nn.init.zeros_(module.layer.weight)
            module.eval()
            list(loader)
            torch.rand(1), random.random()
            reading.place, stopping.bad = 7, 2
            assert state() != before
            if error is not None:
                raise error
    except KeyboardInterrupt:
        assert error is not None
    assert state() == before
