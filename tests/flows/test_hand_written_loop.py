"""fit against the loop a user would write by hand, on real digits: the same weights, bit for bit."""

import copy
import math

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from framework import TrainModule, seed_all
from framework.data import ordered

EPOCHS, SEED = 2, 7
OPTIMIZERS = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.05, momentum=0.9),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=3e-3),
}


class Digits(TrainModule):
    def __init__(self, optimizer):
        super().__init__()
        self.optimizer = optimizer
        self.net = nn.Sequential(nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 10))

    def training_step(self, batch):
        x, y = batch
        return F.cross_entropy(self.net(x), y)

    def evaluation_step(self, batch):
        x, y = batch
        return {"loss": F.cross_entropy(self.net(x) + torch.rand(()), y)}

    def configure_optimizers(self):
        return OPTIMIZERS[self.optimizer](self.parameters())


@pytest.fixture(scope="module")
def digits():
    images, targets = load_digits(return_X_y=True)
    return TensorDataset(torch.tensor(images[:330], dtype=torch.float32) / 16, torch.tensor(targets[:330]))


def loader(dataset):
    return DataLoader(dataset, batch_size=32, shuffle=True)  # 11 batches, the last one short


def clip(parameters, norm, value):
    if norm is not None:
        nn.utils.clip_grad_norm_(parameters, norm)
    if value is not None:
        nn.utils.clip_grad_value_(parameters, value)


def hand_written(model, data, *, accumulate=1, norm=None, value=None, autocast=None, scaler=None):
    """Two epochs; each window of accumulated batches is divided by its real size, also the short one at an epoch's end."""
    optimizer = model.configure_optimizers()
    losses = []
    for _ in range(EPOCHS):
        model.train()
        for index, batch in enumerate(data):
            if index % accumulate == 0:
                optimizer.zero_grad()
            size = min(accumulate, len(data) - index // accumulate * accumulate)
            with torch.autocast("cpu", dtype=autocast, enabled=autocast is not None):
                loss = model.training_step(batch)
            losses.append(loss.item())
            window_loss = loss / size if size > 1 else loss
            (window_loss if scaler is None else scaler.scale(window_loss)).backward()
            if (index + 1) % accumulate and index + 1 < len(data):
                continue
            if scaler is not None and (norm or value):
                scaler.unscale_(optimizer)
            clip(list(model.parameters()), norm, value)
            if scaler is None:
                optimizer.step()
            else:
                scaler.step(optimizer)
                scaler.update()
    return losses


def same_weights(one, other):
    pairs = list(zip(one.state_dict().values(), other.state_dict().values(), strict=True))
    return all(torch.equal(a, b) and not (a.is_floating_point() and a.isnan().any()) for a, b in pairs)


def train_both(digits, optimizer, *, loop, fit, val=False):
    """Returns the model of the loop and that of fit, from the same weights and the same seed, and the loop's losses."""
    seed_all(SEED)
    by_hand = Digits(optimizer)
    by_fit = copy.deepcopy(by_hand)
    seed_all(SEED)
    losses = hand_written(by_hand, ordered(loader(digits), SEED), **loop)
    seed_all(SEED)
    result = by_fit.fit(
        loader(digits), loader(digits) if val else None, max_epochs=EPOCHS, log_every=4, accelerator="cpu", progress=False, **fit
    )
    return by_hand, by_fit, losses, result


@pytest.mark.contract("r")
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("accumulate", [1, 3, 4])
@pytest.mark.parametrize(("norm", "value"), [(None, None), (0.5, None), (None, 0.01), (0.5, 0.01)])
def test_the_weights_are_bit_for_bit_those_of_the_hand_written_loop(digits, optimizer, accumulate, norm, value):
    loop = {"accumulate": accumulate, "norm": norm, "value": value}
    fit = {"accumulate": accumulate, "clip_norm": norm, "clip_value": value}
    by_hand, by_fit, _, _ = train_both(digits, optimizer, loop=loop, fit=fit)
    assert same_weights(by_hand, by_fit)


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("norm", [None, 0.5])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_bf16_is_bit_for_bit_the_hand_written_amp_loop(digits, optimizer, accumulate, norm):
    loop = {"accumulate": accumulate, "norm": norm, "autocast": torch.bfloat16}
    by_hand, by_fit, _, _ = train_both(
        digits, optimizer, loop=loop, fit={"accumulate": accumulate, "clip_norm": norm, "precision": "bf16"}
    )
    assert same_weights(by_hand, by_fit)


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("norm", [None, 0.5])
@pytest.mark.filterwarnings("ignore:fp16 on the CPU is several times slower")
def test_fp16_with_a_scaler_is_bit_for_bit_the_hand_written_amp_loop(digits, accumulate, norm):
    loop = {"accumulate": accumulate, "norm": norm, "autocast": torch.float16, "scaler": torch.amp.GradScaler("cpu")}
    by_hand, by_fit, _, _ = train_both(
        digits, "sgd", loop=loop, fit={"accumulate": accumulate, "clip_norm": norm, "precision": "fp16"}
    )
    assert same_weights(by_hand, by_fit)


def test_validation_with_random_numbers_of_its_own_changes_nothing(digits):
    by_hand, by_fit, _, result = train_both(digits, "adamw", loop={}, fit={}, val=True)
    assert same_weights(by_hand, by_fit)
    assert "val/loss" in result.metrics


def test_the_mean_loss_and_the_curve_are_those_of_the_losses(digits):
    _, _, losses, result = train_both(digits, "sgd", loop={}, fit={})
    sizes = [32] * 10 + [10]
    second_epoch = list(zip(losses[11:], sizes, strict=True))
    mean = math.fsum(loss * size for loss, size in second_epoch) / sum(sizes)
    assert result.metrics["train/loss"] == pytest.approx(mean, rel=1e-12)
    assert result.history[1]["train/loss"] == result.metrics["train/loss"]
    points = result.series["train/loss"]
    assert [point.iteration for point in points] == [4, 8, 11, 12, 16, 20, 22]
    assert points[0].value == pytest.approx(sum(losses[:4]) / 4, rel=1e-12)


def test_a_window_cut_short_by_data_of_unknown_length_is_divided_by_its_real_size(digits):
    seed_all(SEED)
    by_hand = Digits("sgd")
    by_fit = copy.deepcopy(by_hand)
    batches = list(DataLoader(digits, batch_size=32))
    seed_all(SEED)
    hand_written(by_hand, batches, accumulate=4)
    seed_all(SEED)
    by_fit.fit(lambda: (batch for batch in batches), max_epochs=EPOCHS, accumulate=4, accelerator="cpu", progress=False)
    for one, other in zip(by_hand.parameters(), by_fit.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)  # the division comes after the sum: exact to rounding


def test_fit_draws_nothing_from_the_global_random_stream(digits):
    batches = list(DataLoader(digits, batch_size=32))
    module = Digits("sgd")
    module.net[3] = nn.Identity()  # without dropout nothing in a step draws either
    before = torch.get_rng_state()
    module.fit(batches, batches, max_epochs=1, accelerator="cpu", progress=False)
    assert torch.equal(before, torch.get_rng_state())
