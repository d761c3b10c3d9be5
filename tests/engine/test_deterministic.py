"""Runs resumed inside an epoch: the same batches, the same random numbers, the same weights."""

import copy
import io
import random

import numpy
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, DistributedSampler, WeightedRandomSampler

from framework.engine import DeterministicEngine, Engine, Events, keep_random_state


class Augmented(Dataset):
    def __len__(self):
        return 22

    def __getitem__(self, index):
        return torch.tensor([index / 22]) + torch.rand(1) + random.random() + float(numpy.random.rand())


SAMPLERS = {
    "shuffle": lambda: {"shuffle": True},
    "weighted": lambda: {"sampler": WeightedRandomSampler(torch.arange(1.0, 23.0), 22)},
    "distributed": lambda: {"sampler": DistributedSampler(Augmented(), num_replicas=2, rank=1)},
}


def loader(sampler="shuffle", workers=0):
    return DataLoader(Augmented(), batch_size=4, num_workers=workers, **SAMPLERS[sampler]())


class Training:
    """A model with dropout and momentum, trained by a DeterministicEngine; everything is saved at one iteration."""

    def __init__(self, save_at=None, saved=None):
        torch.manual_seed(5)
        self.model = nn.Sequential(nn.Linear(1, 8), nn.Dropout(0.5), nn.Linear(8, 1))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=1e-3, momentum=0.9)
        self.engine = DeterministicEngine(self.step)
        self.batches = []
        self.saved = None
        if save_at is not None:
            self.engine.add_event_handler(Events.ITERATION_COMPLETED(once=save_at), self.save)
        if saved is not None:
            saved = copy.deepcopy(saved)
            self.model.load_state_dict(saved["model"])
            self.optimizer.load_state_dict(saved["optimizer"])
            self.engine.load_state_dict(saved["engine"])

    def step(self, engine, batch):
        self.optimizer.zero_grad()
        self.model(batch).pow(2).mean().backward()
        self.optimizer.step()
        self.batches.append(batch.clone())

    def save(self):
        parts = {"model": self.model, "optimizer": self.optimizer, "engine": self.engine}
        self.saved = copy.deepcopy({name: part.state_dict() for name, part in parts.items()})

    def run(self, data, **limits):
        self.engine.run(data, **limits)
        return self


def assert_goes_on_as(resumed, uninterrupted, at):
    assert len(resumed.batches) == len(uninterrupted.batches) - at
    assert all(torch.equal(a, b) for a, b in zip(resumed.batches, uninterrupted.batches[at:], strict=True))
    for a, b in zip(resumed.model.parameters(), uninterrupted.model.parameters(), strict=True):
        assert torch.equal(a, b)
        assert a.isfinite().all()


@pytest.mark.contract(86, 87)
@pytest.mark.parametrize("epoch_length", [None, 4, 6, 8])  # shorter than, equal to and longer than the 6 batches of the loader
@pytest.mark.parametrize("at", [1, 4, 6, 7, 11])
def test_a_resumed_run_is_the_uninterrupted_one_from_any_iteration(epoch_length, at):
    uninterrupted = Training(save_at=at).run(loader(), max_epochs=3, epoch_length=epoch_length)
    resumed = Training(saved=uninterrupted.saved).run(loader())
    assert_goes_on_as(resumed, uninterrupted, at)


@pytest.mark.contract(86)
@pytest.mark.parametrize("sampler", ["weighted", "distributed"])
def test_other_samplers_go_on_as_well(sampler):
    at = 4 if sampler == "weighted" else 2
    uninterrupted = Training(save_at=at).run(loader(sampler), max_epochs=2)
    assert_goes_on_as(Training(saved=uninterrupted.saved).run(loader(sampler)), uninterrupted, at)


@pytest.mark.contract(87)
def test_augmentation_in_workers_goes_on_with_another_number_of_workers():
    uninterrupted = Training(save_at=8).run(loader(workers=0), max_epochs=2)
    assert_goes_on_as(Training(saved=uninterrupted.saved).run(loader(workers=2)), uninterrupted, 8)


@pytest.mark.contract(86)
def test_lists_and_endless_generators_go_on_by_replaying():
    def endless():
        while True:
            yield torch.rand(4, 1)

    for make in (lambda: [torch.full((4, 1), float(i)) for i in range(5)], endless):
        uninterrupted = Training(save_at=7).run(make(), max_epochs=3, epoch_length=5)
        assert_goes_on_as(Training(saved=uninterrupted.saved).run(make()), uninterrupted, 7)


def test_an_epoch_after_a_broken_one_starts_at_its_beginning():
    seen = []
    engine = DeterministicEngine(lambda engine, batch: seen.append(batch))
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=7), engine.terminate)
    engine.run([0, 1, 2, 3, 4], max_epochs=3)
    engine.run([0, 1, 2, 3, 4])
    assert seen == [0, 1, 2, 3, 4, 0, 1, 0, 1, 2, 3, 4]


@pytest.mark.contract(85)
def test_the_state_has_four_keys_and_loads_without_random_states():
    engine = DeterministicEngine(lambda engine, batch: None)
    engine.run([0, 1], max_epochs=2)
    state = engine.state_dict()
    assert list(state) == ["epoch_length", "max_epochs", "iteration", "rng_states"]
    assert state["rng_states"] is not None
    engine.load_state_dict({**state, "rng_states": None})
    assert engine.state.epoch == 2


@pytest.mark.contract("u", 84)
def test_the_state_is_read_back_with_weights_only():
    engine = DeterministicEngine(lambda engine, batch: None)
    engine.run([0, 1])
    file = io.BytesIO()
    torch.save(engine.state_dict(), file)
    file.seek(0)
    engine.load_state_dict(torch.load(file, weights_only=True))
    assert engine.run([0, 1], max_epochs=2).iteration == 4


@pytest.mark.contract(88)
def test_data_is_needed():
    with pytest.raises(ValueError, match="Deterministic engine does not support the option of data=None"):
        DeterministicEngine(lambda engine, batch: None).run(epoch_length=3)


@pytest.mark.contract(90)
def test_keep_random_state_leaves_the_random_streams_as_they_were():
    @keep_random_state
    def draw():
        """Draws."""
        return torch.rand(1), random.random(), numpy.random.rand()

    before = torch.get_rng_state(), random.getstate(), numpy.random.get_state()[1].copy()
    draw()
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == random.getstate()
    assert (before[2] == numpy.random.get_state()[1]).all()
    assert draw.__doc__ == "Draws."


@pytest.mark.contract(55)
def test_an_evaluator_in_a_handler_leaves_the_trainers_data_as_it_is():
    def batches(evaluate):
        torch.manual_seed(3)
        seen = []
        trainer = Engine(lambda engine, batch: seen.append(batch))
        if evaluate:
            evaluator = Engine(lambda engine, batch: torch.rand(1))
            trainer.add_event_handler(Events.EPOCH_COMPLETED, keep_random_state(lambda: evaluator.run(DataLoader(range(5)))))
        trainer.run(DataLoader(range(9), batch_size=4, shuffle=True), max_epochs=3)
        return torch.cat(seen)

    assert torch.equal(batches(evaluate=False), batches(evaluate=True))


@pytest.mark.contract(91)
def test_loaders_of_unusual_kinds_are_tolerated():
    class Odd(DataLoader):
        def __init__(self):
            super().__init__(range(4))
            del self.__dict__["_dataset_kind"]

        def __len__(self):
            return 4

        def __iter__(self):
            return iter([torch.tensor([index]) for index in range(4)])

    for data in (Odd(), DataLoader(range(4), batch_size=None)):
        assert DeterministicEngine(lambda engine, batch: int(batch)).run(data, max_epochs=2).output == 3


@pytest.mark.contract(92)
def test_a_random_state_from_another_device_is_moved_to_the_cpu():
    class OnDevice(torch.Tensor):
        moved = False

        def cpu(self):
            OnDevice.moved = True
            return self.as_subclass(torch.Tensor)

    engine = DeterministicEngine(lambda engine, batch: None)
    engine.run([0, 1], max_epochs=2)
    state = engine.state_dict()
    state["rng_states"]["torch"] = state["rng_states"]["torch"].as_subclass(OnDevice)
    engine.load_state_dict({**state, "iteration": 3})
    engine.run([0, 1])
    assert OnDevice.moved


def test_torchs_flags_are_set_only_while_running_and_only_where_asked():
    for deterministic in (True, False):
        seen = []
        engine = DeterministicEngine(lambda engine, batch: seen.append(torch.backends.cudnn.deterministic), deterministic)  # noqa: B023
        engine.run([0])
        assert seen == [deterministic]
        assert torch.backends.cudnn.deterministic is False
