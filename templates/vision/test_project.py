"""Checks of a few seconds: `pytest`."""

from data import load
from module import Classifier

from framework import main, seed_all


def test_the_shapes_fit():
    train, val, test = load(batch_size=8)
    images, labels = next(iter(train))
    assert images.shape == (8, 1, 28, 28)
    assert labels.shape == (8,)
    assert Classifier()(images).shape == (8, 10)
    assert (len(train.dataset), len(val.dataset), len(test.dataset)) == (4000, 500, 500)


def test_one_batch_can_be_learnt():
    seed_all(0)
    batch = next(iter(load(batch_size=32)[0]))
    result = Classifier(dropout=0.0).fit([batch], [batch], max_epochs=30, progress=False)
    assert result.metrics["train/loss"] < 0.1


def test_the_configuration_runs():
    assert main(["fit", "--config", "config.yaml", "--fit.dry_run", "true"]) == 0  # one batch of everything, and no files
