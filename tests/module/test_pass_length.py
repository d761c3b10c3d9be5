"""Data that grows and shrinks between epochs: each epoch is one pass over what there is."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from framework import DataError, TrainModule


class Line(TrainModule):
    """Keeps how many batches each epoch had; after each the data gets the next of the sizes."""

    def __init__(self, sizes):
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.left = list(sizes)
        self.data, self.seen, self.steps = [torch.ones(2, 1)] * self.left.pop(0), [], 0

    def training_step(self, batch):
        self.steps += 1
        return self.layer(batch).square().mean()

    def on_epoch_completed(self, engine):
        self.seen.append((self.steps, engine.state.epoch_length))
        self.steps = 0
        if self.left:
            self.data[:] = [torch.ones(2, 1)] * self.left.pop(0)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(module, **settings):
    return module.fit(module.data, accelerator="cpu", progress=False, **settings)


@pytest.mark.parametrize("sizes", [(2, 4, 6), (6, 2, 1), (2, 5, 1), (3, 3, 2), (5, 1, 4)])
def test_each_epoch_is_one_pass(sizes):
    module = Line(sizes)
    result = fit(module, max_epochs=3)
    assert module.seen == [(size, size) for size in sizes]
    assert result.state.iteration == sum(sizes)
    assert [row["iteration"] for row in result.history] == [sum(sizes[: epoch + 1]) for epoch in range(3)]


def test_the_last_window_of_accumulation_has_its_real_size():
    steps = []

    class Counts:
        def on_optimizer_step_completed(self, engine, optimizer):
            steps.append(engine.state.iteration)

    fit(Line((2, 5)), max_epochs=2, accumulate=2, handlers=[Counts()])
    assert steps == [2, 4, 6, 7]


@pytest.mark.parametrize(
    ("sizes", "limits", "iterations", "reason"),
    [
        ((2, 9, 9), {"max_epochs": 3, "max_iters": 8}, 8, "max_iters=8 was reached."),
        ((6, 2, 2, 9), {"max_epochs": 3, "max_iters": 11}, 10, "max_epochs=3 was reached."),
        ((2, 6, 9), {"max_iters": 5}, 5, "max_iters=5 was reached."),
    ],
)
def test_the_limit_that_comes_first_ends_the_run(sizes, limits, iterations, reason):
    result = fit(Line(sizes), **limits)
    assert (result.state.iteration, result.status, result.reason) == (iterations, "completed", reason)


def test_the_limit_of_batches_holds_for_what_is_longer():
    module = Line((2, 9, 3))
    fit(module, max_epochs=3, limit_train_batches=4)
    assert [steps for steps, _ in module.seen] == [2, 4, 3]


def test_data_that_has_become_empty():
    with pytest.raises(DataError, match="train_data gave no batch: this list is empty, or was used up"):
        fit(Line((2, 0)), max_epochs=2)


def test_data_that_a_hook_has_emptied():
    class Empties:
        def on_epoch_started(self, engine):
            if engine.state.epoch == 2:
                module.data.clear()

    module = Line((2,))
    with pytest.raises(DataError, match="In epoch 2 train_data gave no batch: this list is empty, or was used up"):
        fit(module, max_epochs=2, handlers=[Empties()])


def test_a_loader_over_a_dataset_that_grows():
    module = Line((4, 8))
    seen = module.fit(DataLoader(module.data, batch_size=2), max_epochs=2, accelerator="cpu", progress=False).state.iteration
    assert seen == 2 + 4
