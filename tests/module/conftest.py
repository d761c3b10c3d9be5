"""A small regression, its batches, and a loader that counts what is read from it."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from framework import AMP, TrainModule


class Line(TrainModule):
    """Four inputs, one output; SGD with momentum."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(7)
            self.layer = nn.Linear(4, 1)

    def forward(self, x):
        return self.layer(x)

    def training_step(self, batch):
        x, y = batch
        return F.mse_loss(self(x), y)

    def evaluation_step(self, batch):
        x, y = batch
        return {"loss": F.mse_loss(self(x), y)}

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9)


class Counted:
    """Batches, and how many of them were asked for."""

    def __init__(self, batches):
        self.batches = batches
        self.reads = 0

    def __len__(self):
        return len(self.batches)

    def __iter__(self):
        for batch in self.batches:
            self.reads += 1
            yield batch


class Trace:
    """A handler that writes down the events it sees."""

    def __init__(self):
        self.seen = []

    def on_started(self):
        self.seen.append("started")

    def on_epoch_started(self):
        self.seen.append("epoch_started")

    def on_iteration_completed(self):
        self.seen.append("iteration_completed")

    def on_epoch_completed(self):
        self.seen.append("epoch_completed")

    def on_evaluation_completed(self):
        self.seen.append("evaluation_completed")

    def on_terminate(self):
        self.seen.append("terminate")

    def on_interrupt(self):
        self.seen.append("interrupt")

    def on_completed(self):
        self.seen.append("completed")

    def on_closed(self):
        self.seen.append("closed")


def _hand_written(model, make_optimizer, epochs, accumulate=1, clip_norm=None):
    """The loop that fit promises to be; `epochs` holds the batches of each epoch."""
    optimizer = make_optimizer(model.parameters())
    model.train()
    for batches in epochs:
        batches = list(batches)
        for index, (x, y) in enumerate(batches):
            inside = index % accumulate
            size = min(accumulate, len(batches) - (index - inside))
            if inside == 0:
                optimizer.zero_grad()
            loss = F.mse_loss(model(x), y)
            (loss / size if size > 1 else loss).backward()
            if inside == size - 1:
                if clip_norm is not None:
                    nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
                optimizer.step()
    return model


def _assert_same_weights(first, second):
    ours, theirs = first.state_dict(), second.state_dict()
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name]), name


@pytest.fixture
def line():
    return Line


@pytest.fixture
def batches():
    generator = torch.Generator().manual_seed(3)
    return [(torch.randn(8, 4, generator=generator), torch.randn(8, 1, generator=generator)) for _ in range(6)]


@pytest.fixture
def counted(batches):
    return Counted(batches)


@pytest.fixture
def trace():
    return Trace()


@pytest.fixture
def hand_written():
    return _hand_written


@pytest.fixture
def assert_same_weights():
    return _assert_same_weights


@pytest.fixture
def fp16():
    """A backend with a gradient scaler, whose scale is too small to overflow by itself."""
    with pytest.warns(UserWarning, match="fp16 on the CPU"):
        backend = AMP(torch.device("cpu"), "fp16")
    backend.scaler = torch.amp.GradScaler("cpu", init_scale=256.0)
    return backend
