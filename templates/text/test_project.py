"""Checks of a few seconds: `pytest`."""

import torch
from data import decode, encode, load
from module import GPT

from framework import main, seed_all


def test_the_shapes_fit():
    text, following = next(iter(load(length=32, batch_size=8)["train"]))
    assert text.shape == following.shape == (8, 32)
    assert torch.equal(text[:, 1:], following[:, :-1])
    assert GPT(length=32)(text).shape == (8, 32, 128)


def test_a_text_survives_its_codes():
    assert decode(encode("The class")) == "The class"


def test_it_does_not_look_ahead():
    model, text = GPT().eval(), encode("The class statement")
    other = torch.cat([text[:10], encode("x" * 9)])
    assert torch.allclose(model(text[None])[:, :10], model(other[None])[:, :10], atol=1e-5)


def test_one_batch_can_be_learnt():
    seed_all(0)
    batch = next(iter(load(batch_size=4)["train"]))
    result = GPT().fit([batch], [batch], max_epochs=60, progress=False)
    assert result.metrics["train/loss"] < 0.5


def test_it_goes_on_with_a_text():
    (written,) = GPT().predict([encode("The ")[None]])
    assert written.startswith("The ")
    assert len(written) == 200


def test_the_configuration_runs():
    assert main(["fit", "--config", "config.yaml", "--fit.dry_run", "true"]) == 0  # one batch of everything, and no files
