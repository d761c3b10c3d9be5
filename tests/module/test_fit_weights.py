"""The weights that fit gives are bit for bit those of the loop a user would write by hand."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from framework import Events, seed_all
from framework.data import ordered

OPTIMIZERS = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.05, momentum=0.9),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=0.01),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("accumulate", [1, 2, 4])
@pytest.mark.parametrize("clip_norm", [None, 0.1])
def test_weights_are_bitwise_those_of_the_hand_written_loop(
    line, batches, optimizer, accumulate, clip_norm, hand_written, assert_same_weights
):
    class Module(line):
        def configure_optimizers(self):
            return OPTIMIZERS[optimizer](self.parameters())

    module = Module()
    module.fit(batches, max_epochs=3, accumulate=accumulate, clip_norm=clip_norm, progress=False)
    assert_same_weights(module, hand_written(line(), OPTIMIZERS[optimizer], [batches] * 3, accumulate, clip_norm))
    assert not torch.equal(module.layer.weight, line().layer.weight)


def test_a_shuffling_loader_with_dropout_and_validation_gives_the_same_bits(line, batches, hand_written, assert_same_weights):
    class Module(line):
        def __init__(self):
            super().__init__()
            self.layer = nn.Sequential(nn.Linear(4, 16), nn.Dropout(0.5), nn.Linear(16, 1))

    data = TensorDataset(torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches]))
    seed_all(1)
    fitted = Module()
    fitted.fit(DataLoader(data, 8, shuffle=True), batches, max_epochs=3, progress=False)
    after_fit = torch.get_rng_state()
    seed_all(1)
    plain = Module()
    loader = ordered(DataLoader(data, 8, shuffle=True), 1)
    hand_written(plain, OPTIMIZERS["sgd"], (loader for _ in range(3)))
    assert_same_weights(fitted, plain)
    assert torch.equal(after_fit, torch.get_rng_state())


def test_accumulation_over_data_of_unknown_length_steps_the_rest_with_its_real_size(line, batches, hand_written):
    module = line()
    module.fit(lambda: iter(batches), max_epochs=2, accumulate=4, progress=False)
    expected = hand_written(line(), OPTIMIZERS["sgd"], [batches] * 2, accumulate=4)
    torch.testing.assert_close(module.state_dict(), expected.state_dict())


def test_accumulation_ends_its_window_where_max_iters_ends_the_run(line, batches, hand_written, assert_same_weights):
    module = line()
    result = module.fit(batches, max_iters=5, accumulate=3, progress=False)
    assert_same_weights(module, hand_written(line(), OPTIMIZERS["sgd"], [batches[:5]], accumulate=3))
    assert result.state.optimizer_steps == {"main": 2}


def test_several_optimizers_step_together(line, batches, hand_written, assert_same_weights):
    class Module(line):
        def configure_optimizers(self):
            return {
                "weight": torch.optim.SGD([self.layer.weight], lr=0.05, momentum=0.9),
                "bias": torch.optim.SGD([self.layer.bias], lr=0.05, momentum=0.9),
            }

    module = Module()
    result = module.fit(batches, max_epochs=2, clip_norm=0.1, progress=False)
    assert_same_weights(module, hand_written(line(), OPTIMIZERS["sgd"], [batches] * 2, clip_norm=0.1))
    assert result.state.optimizer_steps == {"weight": 12, "bias": 12}
    assert list(result.state.optimizers) == ["weight", "bias"]


def test_a_second_fit_starts_anew(line, batches, hand_written, assert_same_weights):
    module = line()
    first = module.fit(batches, max_epochs=1, progress=False)
    second = module.fit(batches, max_epochs=1, progress=False)
    assert (first.state.iteration, second.state.iteration) == (6, 6)
    assert first.state.optimizers["main"] is not second.state.optimizers["main"]
    by_hand = hand_written(line(), OPTIMIZERS["sgd"], [batches])
    assert_same_weights(module, hand_written(by_hand, OPTIMIZERS["sgd"], [batches]))
    assert len(second.history) == 1


def test_training_is_not_changed_by_how_often_it_is_validated(line, batches):
    class Module(line):
        def training_step(self, batch):
            return super().training_step(batch) * torch.rand(())

        def evaluation_step(self, batch):
            return {"noise": torch.rand(())}

    weights = []
    for validate_every in (1, Events.ITERATION_COMPLETED(every=1)):
        module = Module()
        module.fit(batches, batches, max_epochs=2, validate_every=validate_every, seed=5, progress=False)
        weights.append(module.layer.weight.detach())
    assert torch.equal(*weights)


def test_deterministic_is_put_back(line, batches):
    seen = []

    class Module(line):
        def training_step(self, batch):
            seen.append(torch.are_deterministic_algorithms_enabled())
            return super().training_step(batch)

    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        Module().fit(batches[:1], max_epochs=1, deterministic=True, progress=False)
        assert torch.is_deterministic_algorithms_warn_only_enabled()
        torch.use_deterministic_algorithms(False)
        Module().fit(batches[:1], max_epochs=1, progress=False)
        assert seen == [True, False]
        assert not torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)


def test_seed_seeds_the_run_and_is_kept(line, batches):
    class Module(line):
        def training_step(self, batch):
            return super().training_step(batch) * torch.rand(())

    weights = []
    for _ in range(2):
        module = Module()
        result = module.fit(batches, max_epochs=1, seed=11, progress=False)
        weights.append(module.layer.weight.detach())
    assert torch.equal(*weights)
    assert result.state.seed == 11
