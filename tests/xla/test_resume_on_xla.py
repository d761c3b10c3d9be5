"""A run folder that begins on one device and goes on on the other."""

import copy

import pytest
import torch
from on_both import Net, difference, weights


class Stop:
    def on_iteration_completed(self, engine):
        if engine.state.iteration == 7:
            engine.interrupt()


def make():
    torch.manual_seed(0)
    return Net(lambda parameters: torch.optim.AdamW(parameters, lr=0.01))


@pytest.mark.parametrize(("begins", "goes_on"), [("tpu", "cpu"), ("cpu", "tpu"), ("tpu", "tpu")])
def test_a_run_goes_on_on_another_device(begins, goes_on, make_batches, tmp_path):
    batches, common = make_batches(5), {"max_epochs": 3, "progress": False, "monitor": "val/mse", "mode": "min"}
    whole = make()
    expected = whole.fit(batches, batches, accelerator=goes_on, run_dir=tmp_path / "whole", **common)
    first = make().fit(batches, batches, accelerator=begins, run_dir=tmp_path / "run", handlers=[Stop()], **common)
    assert (first.status, first.state.iteration) == ("interrupted", 7)
    module = make()
    result = module.fit(batches, batches, accelerator=goes_on, run_dir=tmp_path / "run", **common)
    assert (result.status, result.state.iteration) == ("completed", 15)
    if begins == goes_on:
        assert torch.equal(weights(module), weights(whole))
        assert result.metrics == expected.metrics
    assert difference(weights(module), weights(whole)) < 1e-6
    elsewhere = copy.deepcopy(make())
    elsewhere.load_weights(tmp_path / "run", which="last")
    assert torch.equal(weights(elsewhere), weights(module))
