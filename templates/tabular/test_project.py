"""Checks of a few seconds: `pytest`."""

from data import load
from module import Classifier

from framework import main, seed_all


def test_the_shapes_fit():
    train, val, test = load(batch_size=8)
    rows, answers = next(iter(train))
    assert rows.shape == (8, 30)
    assert answers.shape == (8,)
    assert Classifier()(rows).shape == (8,)
    assert (len(train.dataset), len(val.dataset), len(test.dataset)) == (341, 114, 114)


def test_it_learns():
    seed_all(0)
    train, val, _ = load()
    result = Classifier().fit(train, val, max_epochs=10, progress=False)
    assert result.metrics["val/accuracy"] > 0.9


def test_the_configuration_runs():
    assert main(["fit", "--config", "config.yaml", "--fit.dry_run", "true"]) == 0  # one batch of everything, and no files
