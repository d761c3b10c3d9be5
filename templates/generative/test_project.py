"""Checks of a few seconds: `pytest`."""

import torch
from data import load
from module import GAN

from framework import main, seed_all


def test_the_shapes_fit():
    data = load(batch_size=8)
    (images,) = next(iter(data["train"]))
    assert images.shape == (8, 64)
    assert GAN()(next(iter(data["predict"]))).shape == (100, 64)


def test_each_network_steps_once_a_batch():
    seed_all(0)
    data = load()
    result = GAN().fit(data["train"], max_iters=3, progress=False)
    assert result.state.optimizer_steps == {"critic": 3, "generator": 3}


def test_its_drawings_come_nearer_to_the_digits():
    seed_all(0)
    data, model = load(), GAN()
    before = model.evaluate(data["val"])["test/distance"]
    after = model.fit(data["train"], data["val"], max_epochs=5, progress=False).metrics["val/distance"]
    assert after < before / 2


def test_the_distance_of_an_image_to_itself_is_0():
    model = GAN()
    model.forward = lambda noise: torch.ones(len(noise), 64)
    assert model.evaluate([[torch.ones(5, 64)]])["test/distance"] == 0


def test_the_configuration_runs():
    assert main(["fit", "--config", "config.yaml", "--fit.dry_run", "true"]) == 0  # one batch of everything, and no files
