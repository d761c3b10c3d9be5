"""A user's own check of their run: it finds what is lost in a resume, and leaves everything as it was."""

import copy
import random
import re

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from framework import DataError, Events, ResumeError, SettingError, TrainModule, verify_resume
from framework.handlers import EMA, EarlyStopping

GOOD = r"{} batches in one go, and stopped after {} and resumed: the same bits in \d+ tensors and \d+ other values\."


class Hidden:
    """A handler that changes the training and has no state that is saved."""

    def __init__(self):
        self.count = 0

    def on_iteration_completed(self, engine):
        self.count += 1
        engine.state.optimizers["main"].param_groups[0]["lr"] = 0.1 / self.count


class Kept(Hidden):
    """The same with its state."""

    def state_dict(self):
        return {"count": self.count}

    def load_state_dict(self, state):
        self.count = state["count"]


@pytest.fixture
def noisy(line):
    class Noisy(line):
        def training_step(self, batch):
            x, y = batch
            return F.mse_loss(self(F.dropout(x)), y) + 0.1 * torch.rand(()) + 0.1 * random.random()

    return Noisy


def verified(*arguments, stop=4, trained=8, **settings):
    assert re.fullmatch(GOOD.format(trained, stop), verify_resume(*arguments, **settings))


@pytest.mark.parametrize("stop_after", range(1, 8))
def test_a_run_that_resumes(noisy, batches, stop_after):
    verified(noisy(), batches, stop_after=stop_after, stop=stop_after)


@pytest.mark.parametrize("stop_after", [1, 5, 7])
def test_with_windows_that_the_stop_lies_in(noisy, batches, stop_after):
    verified(noisy(), batches[:5], accumulate=3, stop_after=stop_after, stop=stop_after)


def test_with_evaluations_handlers_and_a_loader(noisy, batches):
    loader = DataLoader(TensorDataset(torch.randn(20, 4), torch.randn(20, 1)), batch_size=4, shuffle=True)
    handlers = [EMA(0.8), EarlyStopping("val/loss", patience=9), Kept()]
    verified(noisy(), loader, batches[:2], handlers=handlers, monitor="val/loss", clip_norm=1.0)
    assert handlers[0].n_averaged == handlers[2].count == 0


def test_with_several_evaluations_an_epoch(noisy, batches):
    every = Events.ITERATION_COMPLETED(every=3)
    verified(noisy(), batches, {"a": batches[:2], "b": batches[2:]}, validate_every=every, seed=5)


def test_with_a_step_that_yields(batches):
    class Pair(TrainModule):
        def __init__(self):
            super().__init__()
            self.left, self.right = nn.Linear(4, 1), nn.Linear(4, 1)

        def training_step(self, batch):
            x, y = batch
            yield "left", F.mse_loss(self.left(x), y)
            yield "right", F.mse_loss(self.right(x), self.left(x).detach()) * torch.rand(())

        def configure_optimizers(self):
            return {
                "left": torch.optim.Adam(self.left.parameters()),
                "right": torch.optim.SGD(self.right.parameters(), lr=0.1, momentum=0.9),
            }

    verified(Pair(), batches, accumulate=2)


@pytest.mark.parametrize("seed", [None, 0, 2**63 - 1])
def test_with_any_seed(noisy, batches, seed):
    verified(noisy(), batches, seed=seed)


def refused(*arguments, **settings):
    with pytest.raises(ResumeError) as caught:
        verify_resume(*arguments, **settings)
    first, *lines, last = str(caught.value).splitlines()
    assert first == "8 batches in one go end otherwise than when stopped after 4 and resumed:"
    assert last.startswith("Look for state that no state_dict holds (get_extra_state of a module, state_dict of a handler)")
    return [line.strip() for line in lines]


def test_state_that_a_module_hides_is_found(line, batches):
    class Hides(line):
        def __init__(self):
            super().__init__()
            self.count = 0

        def training_step(self, batch):
            self.count += 1
            return super().training_step(batch) * self.count

    lines = refused(Hides(), batches)
    assert any(line.startswith("model.layer.weight: float32 (1, 4) with mean ") for line in lines)
    assert any(line.startswith("model.layer.bias: tensor([") for line in lines)
    assert all(" in one go, " in line and line.endswith(" resumed") for line in lines)
    Hides.get_extra_state, Hides.set_extra_state = (lambda self: self.count), (lambda self, state: setattr(self, "count", state))
    verified(Hides(), batches)


def test_state_that_a_handler_hides_is_found(line, batches):
    lines = refused(line(), batches, handlers=[Hidden()])
    assert any(line.startswith("optimizer.main.param_groups[0].lr: 0.0125 in one go, 0.025 resumed") for line in lines)
    verified(line(), batches, handlers=[Kept()])


def test_numbers_from_a_generator_of_ones_own_are_found(line, batches):
    class Own(line):
        def __init__(self):
            super().__init__()
            self.numbers = random.Random(3)

        def training_step(self, batch):
            return super().training_step(batch) * self.numbers.random()

    assert refused(Own(), batches)


def test_only_the_first_differences_are_shown(batches, line):
    class Wide(line):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(1, 1) for _ in range(10))
            self.count = 0

        def training_step(self, batch):
            self.count += 1
            return super().training_step(batch) + self.count * sum(layer(torch.ones(1, 1)).square().sum() for layer in self.layers)

    lines = refused(Wide(), batches)
    assert len(lines) == 11
    assert lines[-1].startswith("and ")
    assert lines[-1].endswith(" more")


def test_a_nan_equals_nothing(line, batches):
    class Undefined(line):
        def evaluation_step(self, batch):
            return {"odd": float("nan")}

    lines = refused(Undefined(), batches, batches[:1])
    assert "run.metrics.val/odd: nan in one go, nan resumed" in lines


def test_what_is_given_stays_as_it_was(noisy, batches):
    module, handler = noisy(), Kept()
    state, modes = copy.deepcopy(module.state_dict()), [part.training for part in module.modules()]
    before = torch.get_rng_state(), random.getstate()
    verify_resume(module, batches, batches, handlers=[handler])
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert all(torch.equal(state[name], value) for name, value in module.state_dict().items())
    assert [part.training for part in module.modules()] == modes
    assert (module._backend, module._recorder, handler.count) == (None, None, 0)
    with pytest.raises(ResumeError):
        verify_resume(module, batches, handlers=[Hidden()])
    assert torch.equal(torch.get_rng_state(), before[0])


class Keeps:
    """Data with a place of its own."""

    def __init__(self, batches):
        self.batches, self.place = batches, 0

    def __iter__(self):
        while self.place < len(self.batches):
            self.place += 1
            yield self.batches[self.place - 1]
        self.place = 0

    def state_dict(self):
        return {"place": self.place}

    def load_state_dict(self, state):
        self.place = state["place"]


def test_data_that_keeps_its_place_begins_there_each_time(line, batches):
    data, val = Keeps(batches), Keeps(batches[:2])
    data.place = 2
    verified(line(), data, {"a": val})
    assert (data.place, val.place) == (2, 0)


def test_a_generator_of_the_data_begins_anew_each_time(line):
    generator = torch.Generator().manual_seed(3)
    dataset = TensorDataset(torch.randn(20, 4), torch.randn(20, 1))
    loader = DataLoader(dataset, batch_size=4, shuffle=True, generator=generator)
    before = generator.get_state()
    with pytest.warns(UserWarning, match="4 batches are read and dropped"):
        verified(line(), loader, data_order="loader")
    assert torch.equal(generator.get_state(), before)


def test_data_that_is_used_up_is_refused(line, batches):
    words = "train_data is a list_iterator, which gives its batches only once; verify_resume trains three times. Give a function"
    with pytest.raises(DataError, match=words):
        verify_resume(line(), iter(batches), epoch_length=2)


def test_a_run_that_ends_before_the_stop_is_refused(line, batches):
    class Ends:
        def on_iteration_completed(self, engine):
            if engine.state.iteration == 3:
                engine.terminate(reason="Solved.")

    words = r"The run ended after 3 batches, before it could be stopped after 4: Solved. Give a smaller stop_after\."
    with pytest.raises(SettingError, match=words):
        verify_resume(line(), batches, handlers=[Ends()])
    verified(line(), batches, handlers=[Ends()], stop_after=2, stop=2, trained=3)


@pytest.mark.parametrize(
    "name", ["max_epochs", "max_iters", "max_time_s", "run_dir", "resume", "save_every", "save_every_s", "keep"]
)
def test_what_it_sets_itself_cannot_be_given(line, batches, name):
    with pytest.raises(SettingError, match=f"{name} is set by verify_resume itself. Leave it out"):
        verify_resume(line(), batches, **{name: 1})


@pytest.mark.parametrize(
    ("steps", "stop_after", "words"), [(1, 0, "steps=1: .* at least 2"), (4, 4, "stop_after=4: .* from 0 to 3")]
)
def test_numbers_out_of_range(line, batches, steps, stop_after, words):
    with pytest.raises(SettingError, match=words):
        verify_resume(line(), batches, steps=steps, stop_after=stop_after)


def test_two_batches_are_enough(line, batches):
    assert verify_resume(line(), batches, steps=2).startswith("2 batches in one go, and stopped after 1 and resumed: ")


def test_it_is_for_one_process(noisy, batches, monkeypatch):
    for name, value in {"RANK": 1, "LOCAL_RANK": 1, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": 1}.items():
        monkeypatch.setenv(name, str(value))
    with pytest.raises(SettingError, match=r"in one process, and this is one of 2\. Call it in a script that"):
        verify_resume(noisy(), batches)
