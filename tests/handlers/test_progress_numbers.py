import re

import torch

from framework import Events, TrainModule


class Seldom(TrainModule):
    """Logs something in its second epoch alone, and keeps a number of its own among the metrics."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def training_step(self, batch):
        return self.weight.sum()

    def evaluation_step(self, batch):
        return {"loss": self.weight.sum()}

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)

    def on_epoch_completed(self, engine):
        if engine.state.epoch == 2:
            self.log("pages", 7.0)
        engine.state.metrics["own"] = engine.state.epoch


def shown(text):
    """The names of the numbers of each epoch's line."""
    lines = [line.partition(" iterations  ")[2] for line in text.splitlines()]
    return [set(re.findall(r"([a-z/]+) [\d.]+  ", line)) for line in lines if line]


EPOCHS = [{"train/loss", "own"}, {"train/loss", "own", "val/loss", "train/pages"}, {"train/loss", "own"}]


def test_a_line_has_only_what_was_measured_in_its_epoch(capsys):
    result = Seldom().fit(range(2), range(2), max_epochs=3, validate_every=2)
    assert shown(capsys.readouterr().out) == EPOCHS
    assert ["val/loss" in row for row in result.history] == ["val/loss" in names for names in EPOCHS]


def test_a_run_that_goes_on_repeats_no_value_of_the_process_before(capsys, tmp_path):
    for epochs in (2, 3):
        capsys.readouterr()
        Seldom().fit(range(2), range(2), max_epochs=epochs, validate_every=2, run_dir=tmp_path / "run")
    assert shown(capsys.readouterr().out) == EPOCHS[2:]


def test_a_line_has_what_was_measured_within_its_epoch(capsys):
    Seldom().fit(range(4), range(2), max_epochs=2, validate_every=Events.ITERATION_COMPLETED(once=3))
    assert shown(capsys.readouterr().out) == [{"train/loss", "own", "val/loss"}, {"train/loss", "own", "train/pages"}]
