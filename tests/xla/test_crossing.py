"""Training that begins on one device and goes on on the other, through a file that knows no device."""

import copy

import pytest
import torch
from on_both import Net, difference, weights

from framework import XLA, select_backend
from framework.backends.tree import tensors_in


class Kept(Net):
    """Goes on with the optimizer's state that it is given."""

    optimizer_state = None

    def __init__(self):
        super().__init__(lambda parameters: torch.optim.AdamW(parameters, lr=0.01), width=13)

    def configure_optimizers(self):
        self.optimizer = super().configure_optimizers()
        if self.optimizer_state is not None:
            self.optimizer.load_state_dict(copy.deepcopy(self.optimizer_state))  # else torch shares its step counts
        return self.optimizer


def saved(module, path):
    tree = {"module": module.state_dict(), "optimizer": module.optimizer.state_dict()}
    torch.save(select_backend("tpu").to_host(tree), path)
    return torch.load(path, weights_only=True)


def assert_bitwise(one, other):
    pairs = list(zip(tensors_in(one), tensors_in(other), strict=True))
    assert len(pairs) > 8
    for left, right in pairs:
        assert left.device.type == "cpu"
        assert torch.equal(left, right.cpu())


@pytest.mark.parametrize(("begins", "goes_on"), [("tpu", "cpu"), ("cpu", "tpu"), ("tpu", "tpu")])
def test_a_file_carries_every_bit_across(begins, goes_on, make_batches, tmp_path):
    torch.manual_seed(0)
    module = Kept()
    batches = make_batches(12)
    start = copy.deepcopy(module)
    module.fit(batches[:6], max_epochs=1, accelerator=begins, progress=False)
    first = saved(module, tmp_path / "first.pt")
    assert_bitwise(first, {"module": module.state_dict(), "optimizer": module.optimizer.state_dict()})

    other = Kept()
    other.load_state_dict(first["module"])
    other.optimizer_state = first["optimizer"]
    seen = []

    class Look:
        def on_started(self, engine):
            backend = XLA()
            seen.append(backend.to_host({"module": other.state_dict(), "optimizer": engine.state.optimizers["main"].state_dict()}))

    other.fit(batches[6:], max_epochs=1, accelerator=goes_on, progress=False, handlers=[Look()])
    assert_bitwise(first, seen[0])
    assert other.device.type == ("xla" if goes_on == "tpu" else "cpu")

    start.fit(batches, max_epochs=1, accelerator="cpu", progress=False)  # in one go
    assert difference(weights(other), weights(start)) < 1e-6


def test_going_on_through_a_file_is_bitwise_going_on(make_batches, tmp_path):
    torch.manual_seed(0)
    batches = make_batches(8)
    whole = Kept()
    halved = copy.deepcopy(whole)
    whole.fit(batches, max_epochs=1, accelerator="tpu", progress=False)
    halved.fit(batches[:4], max_epochs=1, accelerator="tpu", progress=False)
    state = saved(halved, tmp_path / "half.pt")
    resumed = Kept()
    resumed.load_state_dict(state["module"])
    resumed.optimizer_state = state["optimizer"]
    resumed.fit(batches[4:], max_epochs=1, accelerator="tpu", progress=False)
    assert torch.equal(weights(resumed), weights(whole))
