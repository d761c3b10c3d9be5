"""A small program, a loader that counts what is read from it, how a mistake is refused, and a run to compare with."""

import faulty_runs
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import framework.checkpoint.files as files
from framework import FrameworkError, TrainModule


class Net(TrainModule):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 1)

    def forward(self, x):
        return self.layer(x)

    def training_step(self, batch):
        x, y = batch
        return F.mse_loss(self(x), y)

    def evaluation_step(self, batch):
        return {"loss": self.training_step(batch)}

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Loader:
    """Batches, how many of them were read, and how often a pass was begun."""

    def __init__(self, batches=4):
        self.batches = batches
        self.reads = self.passes = 0

    def __len__(self):
        return self.batches

    def __iter__(self):
        self.passes += 1
        for _ in range(self.batches):
            self.reads += 1
            yield torch.ones(8, 4), torch.ones(8, 1)


def _refused(error, *words, module=None, train, val=None, **settings):
    """Runs fit, and asserts that it raises this error with these words."""
    module = module or Net()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    with pytest.raises(error) as caught:
        module.fit(train, val, **{"max_epochs": 1, "progress": False, **settings})
    assert type(caught.value) is error
    assert isinstance(caught.value, FrameworkError)
    for word in words:
        assert word in str(caught.value)
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())


@pytest.fixture
def loader():
    return Loader()


@pytest.fixture
def loader_of():
    return Loader


@pytest.fixture
def net():
    """Makes the module, with other attributes than it has."""
    return lambda **attributes: type("Mine", (Net,), attributes)()


@pytest.fixture
def refused():
    return _refused


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A small run that nothing has disturbed: its end, and its folder."""
    run_dir = tmp_path_factory.mktemp("whole") / "run"
    return faulty_runs.fit(run_dir), run_dir


@pytest.fixture
def quick_disk(monkeypatch):
    """Waits for no disk: nobody cuts the power in these tests."""
    monkeypatch.setattr(files.os, "fsync", lambda descriptor: None)
