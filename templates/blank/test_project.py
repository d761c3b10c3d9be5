"""Checks of a few seconds: `pytest`."""

from data import load
from module import Model

from framework import main, seed_all


def test_the_shapes_fit():
    train, _, _ = load(batch_size=8)
    x, y = next(iter(train))
    assert x.shape == (8, 64)
    assert y.shape == (8,)
    assert Model()(x).shape == (8, 10)


def test_one_batch_can_be_learnt():
    seed_all(0)
    batch = next(iter(load()[0]))
    result = Model().fit([batch], [batch], max_epochs=100, progress=False)
    assert result.metrics["train/loss"] < 0.1


def test_the_configuration_runs():
    assert main(["fit", "--config", "config.yaml", "--fit.dry_run", "true"]) == 0  # one batch of everything, and no files
