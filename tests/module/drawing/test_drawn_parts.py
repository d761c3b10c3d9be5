"""What stands before the loop, how batches come, and evaluations: seen in whole drawings."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset
from torchmetrics import MeanSquaredError

from framework import Events, TrainModule
from framework.module.drawing.show_loop import draw_loop
from framework.steps.step import Step


class Two(TrainModule):
    def __init__(self, width: int = 3, name: str = "x" * 99):
        super().__init__()
        self.first, self.rest = nn.Linear(4, width), nn.Sequential(nn.Linear(width, 2), nn.Linear(2, 1))

    def training_step(self, batch, engine):
        raise AssertionError("nothing is run")

    def evaluation_step(self, batch, engine):
        raise AssertionError("nothing is run")

    def configure_metrics(self):
        return {"error": MeanSquaredError(), "again": MeanSquaredError()}

    def configure_optimizers(self):
        raise NotImplementedError


def drawn(optimizers, train=None, val=None, module=Two, **settings):
    made = type("Mine", (module,), {"configure_optimizers": lambda self: optimizers(self)})(width=3)
    return draw_loop(made, [1, 2] if train is None else train, val, **{"max_epochs": 1, "progress": False, **settings}).splitlines()


def sgd(module):
    return torch.optim.SGD(module.parameters(), lr=0.5)


OPTIMIZERS = [
    (sgd, "optimizer = SGD(model.parameters(), lr=0.5)"),
    (
        lambda module: torch.optim.Adam(module.rest[1].parameters(), amsgrad=True),
        "optimizer = Adam(model.rest[1].parameters(), lr=0.001, amsgrad=True)",
    ),
    (lambda module: torch.optim.SGD([module.first.weight]), "optimizer = model.configure_optimizers()"),
    (
        lambda module: torch.optim.SGD([{"params": part.parameters()} for part in (module.first, module.rest)]),
        "SGD(lr=0.001): 2 groups, 26 parameters",
    ),
    (lambda module: {"a": sgd(module.first), "b": sgd(module.rest)}, '"a": SGD(model.first.parameters(), lr=0.5),'),
    (
        lambda module: {"a": sgd(module.first), "b": torch.optim.SGD([module.rest[0].weight])},
        '"b": model.configure_optimizers()["b"],',
    ),
]


@pytest.mark.parametrize(("make", "shown"), OPTIMIZERS)
def test_optimizers_are_made_as_one_would_by_hand(make, shown):
    assert shown in "\n".join(drawn(make))


def test_the_module_and_its_size():
    def freeze(module):
        module.first.requires_grad_(False)
        return sgd(module.rest)

    line = drawn(freeze)[1]
    assert line.startswith("model = Mine(width=3, name=...) ")
    assert line.endswith("# 26 parameters, 15 of them frozen, on cpu in fp32")


def test_layers_whose_size_the_first_batch_tells():
    class Lazy(Two):
        def __init__(self, width):
            super().__init__(width)
            self.first = nn.LazyLinear(3)

    assert "11 parameters, and 2 tensors of a size that the first batch tells" in drawn(sgd, module=Lazy)[1]


def test_what_was_given_stands_above():
    head = drawn(sgd, val=[1], log_every=7)[0]
    assert head == "# Mine.fit(train_data, val_data, max_epochs=1, progress=False, log_every=7) runs:"
    shown = drawn(sgd, validate_every=Events.COMPLETED, val=[1], seed=5)[0]
    assert "validate_every=Events.COMPLETED, seed=5" in shown
    assert "validate_every=..." in drawn(sgd, validate_every=Events.EPOCH_COMPLETED(every=2), val=[1])[0]
    assert "run_dir='run'" in drawn(sgd, run_dir=Path("run"))[0]


class Stream(IterableDataset):
    def __iter__(self):
        raise AssertionError("nothing is read")


def make_batches():
    raise AssertionError("nothing is read")


@pytest.mark.parametrize(
    ("train", "settings", "shown"),
    [
        ([1], {}, "for batch in train_data:"),
        ([1], {}, "# 1 batch of a list"),
        (make_batches, {}, "# as many batches as come, from a function called for each pass"),
        (DataLoader(range(8), 4), {}, "# 2 batches of DataLoader(batch_size=4)"),
        (
            DataLoader(range(8), 4, shuffle=True, num_workers=2),
            {},
            "# 2 batches of DataLoader(batch_size=4, shuffle=True, num_workers=2)",
        ),
        (DataLoader(Stream()), {}, "# as many batches as come of DataLoader(batch_size=1)"),
        (make_batches, {}, "for batch in train_data():"),
        (DataLoader(range(8), 4), {"data_order": "sample"}, 'train_data = ordered(train_data, seed, seeding="sample")'),
        ([1], {"epoch_length": 5}, "for index in range(5):"),
        ([1], {"max_epochs": None, "max_iters": 5}, "if iteration == 5 and index + 1 < 1:"),
        (make_batches, {"max_epochs": None, "max_iters": 5}, "if iteration == 5:"),
        (make_batches, {"max_iters": 5}, "run.stop_at_max_iters(engine)"),
        (make_batches, {"accumulate": 2}, "size = 2"),
    ],
)
def test_how_the_batches_come(train, settings, shown):
    assert any(shown in line for line in drawn(sgd, train, **settings))


def test_without_data_a_step_gets_none():
    made = type("Mine", (Two,), {"configure_optimizers": sgd})()
    text = draw_loop(made, None, max_epochs=1, epoch_length=3, progress=False)
    assert "for _ in range(3):" in text
    assert "batch = None" in text


def test_an_evaluation_feeds_its_metrics():
    lines = [line.split("  #")[0].strip() for line in drawn(sgd, val={"a": [1, 2], "b": make_batches}, limit_val_batches=1)]
    assert lines.count("evaluation_metrics.reset()") == lines.count("metrics.update(evaluation_metrics.compute())") == 2
    assert lines[lines.index('for batch in islice(val_data["a"], 1):') + 1] == "output = model.evaluation_step(batch, evaluator)"
    assert 'for batch in islice(val_data["b"](), 1):' in lines
    assert "loss = model.training_step(batch, engine)" in lines


def test_a_step_of_an_unknown_kind_is_called_as_it_is(monkeypatch):
    class Other(Step):
        def __init__(self, backend, optimizers, forward, **rest):
            super().__init__(backend, optimizers)

        def run(self, engine, batch):
            raise AssertionError("nothing is run")

        def finish_window(self):
            raise AssertionError("nothing is run")

    monkeypatch.setattr("framework.module.adapter.ReturnedLoss", Other)
    assert any(line.strip().startswith("loss = step.run(engine, batch)") and line.endswith("# Other") for line in drawn(sgd))
