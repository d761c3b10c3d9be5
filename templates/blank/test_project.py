"""Checks that the model learns: `pytest`."""

from data import load
from module import Module

from framework import seed_all


def test_the_model_learns_the_digits():
    seed_all(0)
    train, held_out = load()
    result = Module().fit(train, held_out, max_epochs=8, accelerator="cpu", progress=False)
    assert result.metrics["val/accuracy"] > 0.93
