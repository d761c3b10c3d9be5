"""A run of any kind that a dry run went before is, bit for bit, the run without it."""

import copy
import random
import warnings

import kinds_of_courses  # noqa: F401 # each registers its kinds
import kinds_of_data  # noqa: F401
import kinds_of_modules  # noqa: F401
import numpy
import pytest
import torch
from faulty_runs import Net, Noisy, assert_same_end, difference, fit, loader
from kinds_of_runs import KINDS, batches
from torch import nn
from torch.utils.data import DataLoader, RandomSampler

from framework import AMP, DataError, TrainModule, seed_all
from framework.handlers import EMA, EarlyStopping
from framework.seeding import random_state

pytestmark = pytest.mark.usefixtures("quick_disk")

ONLY_ONCE = ("an_endless_iterator",)
MAY_SAY = ("was cut short", "batches are read and dropped")


def made(name):
    make, settings = KINDS[name]
    seed_all(5)
    module, train, *more = make()
    rest = dict(more[0]) if more else {}
    return module, train, {"val": None, "handlers": [], **settings, **rest}


def rehearse(module, train, val=None, **settings):
    settings = {"max_epochs": 2, "seed": 5, "progress": False, **settings}
    return module.fit(train, val, **{name: value for name, value in settings.items() if name != "reseed"}, dry_run=True)


def files_below(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", sorted(set(KINDS) - set(ONLY_ONCE)))
def test_a_run_after_a_dry_run_is_the_run_without(tmp_path, name, capsys):
    ends = []
    for rehearsed in (False, True):
        module, train, settings = made(name)
        val, handlers = settings.pop("val"), settings.pop("handlers")
        with warnings.catch_warnings():
            for text in MAY_SAY:
                warnings.filterwarnings("ignore", f".*{text}", UserWarning)
            if rehearsed:
                weights, streams = copy.deepcopy(dict(module.named_parameters())), random_state()
                result = rehearse(module, train, val, handlers=handlers, run_dir=tmp_path / "dry", **settings)
                assert (result.status, result.reason[:7]) == ("stopped", "dry_run")
                assert capsys.readouterr().out.startswith("Dry run of ")
                assert difference(random_state(), streams) is None
                assert [type(each) for each in module.parameters()] == [type(each) for each in weights.values()]
                assert not (tmp_path / "dry").exists()
            ends.append(fit(tmp_path / str(rehearsed), *handlers, module=module, train=train, val=val, **settings))
    assert_same_end(*ends)


@pytest.mark.parametrize("name", ONLY_ONCE)
def test_data_that_would_lack_its_first_batch_is_refused(name):
    module, train, settings = made(name)
    del settings["val"]
    with pytest.raises(DataError, match=r"dry_run=True would take the first batch .* Give a function that makes it"):
        rehearse(module, train, **settings)


class Keeper(Net):
    """Changes in its hooks all that a module can hold."""

    def __init__(self):
        super().__init__()
        self.register_buffer("steps", torch.zeros(()))
        self.register_buffer("mean", torch.zeros(3), persistent=False)
        self.seen, self.calls, self.free = [], 0, torch.zeros(2)
        self.extra = {"deep": {"count": [0]}}
        self.net[0].requires_grad_(False)
        self.net[3].eval()
        self.net[4].weight.grad = torch.ones(1, 6)
        self.generator, self.dice, self.numbers = torch.Generator(), random.Random(1), numpy.random.default_rng(1)
        self.old_numbers = numpy.random.RandomState(1)
        self.made = torch.optim.Adam(self.net[4].parameters(), lr=0.1)
        self.plan = torch.optim.lr_scheduler.StepLR(self.made, 1)
        self.made.step()

    def get_extra_state(self):
        return self.extra

    def set_extra_state(self, state):
        self.extra = state

    def configure_optimizers(self):
        return self.made

    def configure_schedulers(self, optimizers):
        return self.plan

    def on_iteration_completed(self):
        self.steps += 1
        self.mean = self.mean + 1
        self.free += 1
        self.seen.append(torch.rand(1, generator=self.generator))
        self.calls += 1 + self.dice.random() + self.numbers.random() + self.old_numbers.rand()
        self.extra["deep"]["count"][0] += 1
        self.net[0].requires_grad_(True)
        self.later = "made in the run"
        self.register_buffer("later_buffer", torch.ones(1))


def everything(module):
    adam = copy.deepcopy(module.made.state_dict())
    return {
        "tensors": {name: each.detach().clone() for name, each in [*module.named_parameters(), *module.named_buffers()]},
        "gradients": {name: None if each.grad is None else each.grad.clone() for name, each in module.named_parameters()},
        "needs": [each.requires_grad for each in module.parameters()],
        "modes": [part.training for part in module.modules()],
        "plain": [list(vars(module)), len(module.seen), module.calls, module.free.clone(), copy.deepcopy(module.extra)],
        "hooks": [(len(part._forward_hooks), len(part._forward_pre_hooks)) for part in module.modules()],
        "streams": [
            module.generator.get_state(),
            module.dice.getstate(),
            copy.deepcopy(module.numbers.bit_generator.state),
            module.old_numbers.get_state()[1].tolist(),
            module.old_numbers.get_state()[2],
        ],
        "objects": [id(each) for each in (*module.parameters(), module.seen, module.free, module.net[4].weight.grad)],
        "optimizer": {"state": adam["state"], "groups": adam["param_groups"]},
        "plan": copy.deepcopy(module.plan.state_dict()),
    }


def test_a_module_is_as_it_was_in_every_part(capsys):
    module = Keeper()
    before = everything(module)
    rehearse(module, loader(), loader())
    assert difference(everything(module), before) is None


def test_it_is_as_it_was_also_after_an_error(capsys):
    class Fails(Keeper):
        def on_epoch_completed(self):
            raise OverflowError("here")

    module = Fails()
    before = everything(module)
    with pytest.raises(OverflowError, match="here"):
        rehearse(module, loader())
    assert difference(everything(module), before) is None
    assert capsys.readouterr().out == ""


def test_an_error_in_a_step_leaves_no_hook(capsys):
    class Fails(Net):
        def training_step(self, batch):
            super().training_step(batch)
            raise OverflowError("here")

    module = Fails()
    with pytest.raises(OverflowError, match="here"):
        rehearse(module, loader())
    assert not any(part._forward_hooks for part in module.modules())


class Counts:
    """A handler with a state."""

    def __init__(self):
        self.count = 0

    def on_iteration_completed(self):
        self.count += 1

    def state_dict(self):
        return {"count": self.count}

    def load_state_dict(self, state):
        self.count = state["count"]


def test_handlers_with_a_state_are_put_back(capsys):
    stopping, ema, counts = EarlyStopping("val/loss"), EMA(0.5), Counts()
    module = Net()
    module.fit(loader(), loader(), max_epochs=2, handlers=[stopping, ema, counts], progress=False)
    before = copy.deepcopy([each.state_dict() for each in (stopping, ema, counts)])
    module.fit(loader(), loader(), max_epochs=2, handlers=[stopping, ema, counts], dry_run=True)
    assert difference([each.state_dict() for each in (stopping, ema, counts)], before) is None
    assert counts.count == 6
    ema.on_started(type("Engine", (), {"state": type("State", (), {"module": module, "iteration": 0})}))
    assert ema.n_averaged == 0  # a new run starts anew, as it would have without the dry run


class DrawsForItself(Noisy):
    def __init__(self):
        super().__init__()
        self.rng = numpy.random.default_rng(3)

    def __getitem__(self, index):
        x, y = super().__getitem__(index)
        return x + self.rng.random(), y


def test_generators_of_the_data_are_put_back(capsys):
    own, given = torch.Generator().manual_seed(1), torch.Generator().manual_seed(2)
    data = DrawsForItself()
    train = DataLoader(data, batch_size=4, sampler=RandomSampler(data, generator=own), generator=given)
    before = [own.get_state(), given.get_state(), data.rng.bit_generator.state]
    rehearse(Net(), train, [next(iter(loader()))], data_order="loader")
    assert difference([own.get_state(), given.get_state(), data.rng.bit_generator.state], before) is None


def test_a_run_in_the_folder_stays_as_it_is(tmp_path, capsys):
    module, result = fit(tmp_path / "run", val=loader(), monitor="val/loss")
    before = files_below(tmp_path)
    weights = copy.deepcopy(module.state_dict())
    again = rehearse(module, loader(), loader(), monitor="val/loss", run_dir=tmp_path / "run")
    assert files_below(tmp_path) == before
    assert difference(module.state_dict(), weights) is None
    assert (again.best_checkpoint, again.last_checkpoint, again.state.iteration) == (None, None, 1)
    assert result.last_checkpoint.exists()


@pytest.mark.filterwarnings("ignore:fp16 on the CPU:UserWarning")
def test_the_scale_of_a_given_backend_is_put_back(capsys):
    backend = AMP(torch.device("cpu"), "fp16", scaler=torch.amp.GradScaler("cpu", init_scale=1e30))
    rehearse(Net(), batches(), accelerator=backend)
    assert backend.scaler.get_scale() == 1e30
    assert "backward" not in vars(backend)
    rehearse(Net(), batches(), accelerator=backend)
    assert backend.scaler.get_scale() == 1e30


def test_a_module_that_has_trained_is_the_same_for_its_second_run(capsys):
    ends = []
    for rehearsed in (False, True):
        seed_all(1)
        module = Net()
        module.fit(loader(), max_epochs=1, progress=False)
        if rehearsed:
            module.fit(loader(), loader(), max_epochs=1, dry_run=True)
        result = module.fit(loader(), max_epochs=1, progress=False)  # without a seed: from torch's own
        ends.append((module.state_dict(), result.metrics))
    assert difference(*ends) is None


def test_frozen_memory_is_left_alone(capsys):
    class Expanded(TrainModule):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 1)
            self.register_buffer("places", torch.arange(4.0).expand(4, 4))

        def training_step(self, batch):
            return self.layer(batch[0] + self.places).sum()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    module = Expanded()
    before = copy.deepcopy(module.layer.state_dict())
    rehearse(module, batches())
    assert difference(module.layer.state_dict(), before) is None
