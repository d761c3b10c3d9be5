"""Right but unusual programs: none is refused or warned about, and each trains to the numbers of the loop written by hand."""

import functools

import pytest
import right_programs_of_steps  # noqa: F401  # collects its own
import torch
from right_programs import PROGRAMS
from torch.utils.data import DataLoader

from framework import seed_all
from framework.data import ordered

EPOCHS, SEED = 3, 1
OF_ONE_PROCESS = ("teacher_outside_of_the_tree", "a_loader_over_data_that_changes_between_epochs", "a_buffer_that_the_module_fills")
"""What they hold is in no state_dict, or is other data in a new process: a run does not go on with them."""

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.jit.script.* is deprecated"),
    pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors is in prototype stage"),
]


class StopsInside:
    def __init__(self, iteration):
        self.iteration = iteration

    def on_iteration_completed(self, engine):
        if engine.state.iteration == self.iteration:
            engine.interrupt()


def train(made, *, before=None, **settings):
    module, data, given = made()
    settings = {"max_epochs": EPOCHS, "accelerator": "cpu", "progress": False, "seed": SEED, **given, **settings}
    if before == "dry_run":
        module.fit(data, **settings, dry_run=True)
    elif before == "show_loop":
        module.show_loop(data, **settings)
    return module.fit(data, **settings), module


@functools.cache
def plainly_trained(name):
    return train(PROGRAMS[name])


def by_hand(made):
    module, data, _ = made()
    seed_all(SEED)
    configured = module.configure_optimizers()
    optimizers = list(configured.values()) if isinstance(configured, dict) else [configured]
    batches = ordered(data, SEED) if isinstance(data, DataLoader) else data
    for epoch in range(1, EPOCHS + 1):
        module.train()
        if hasattr(module, "begin"):
            module.begin(epoch)
        for batch in batches:
            for optimizer in optimizers:
                optimizer.zero_grad()
            module.training_step(batch).backward()
            for optimizer in optimizers:
                optimizer.step()
    return module


def assert_same(one, other):
    pairs = zip(one.state_dict().items(), other.state_dict().items(), strict=True)
    for (name, value), (other_name, expected) in pairs:
        assert name == other_name
        assert torch.equal(value, expected), name


@pytest.mark.parametrize("name", PROGRAMS)
def test_it_trains_to_the_numbers_of_the_loop(name):
    result, module = plainly_trained(name)
    assert result.status == "completed"
    assert_same(module, by_hand(PROGRAMS[name]))


@pytest.mark.parametrize("looked_at", ["dry_run", "show_loop", "skip", "debug"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_who_looks_on_changes_nothing(name, looked_at):
    settings = {"skip": {"nan": "skip"}, "debug": {"debug": True}}.get(looked_at, {"before": looked_at})
    assert_same(train(PROGRAMS[name], **settings)[1], plainly_trained(name)[1])


@pytest.mark.parametrize("settings", [{"accumulate": 2}, {"precision": "bf16"}], ids=str)
@pytest.mark.parametrize("name", PROGRAMS)
def test_it_goes_with_other_settings(name, settings):
    assert train(PROGRAMS[name], **settings)[0].status == "completed"


@pytest.mark.parametrize("name", [name for name in PROGRAMS if name not in OF_ONE_PROCESS])
@pytest.mark.usefixtures("quick_disk")
def test_a_run_of_it_goes_on(name, tmp_path):
    whole, expected = plainly_trained(name)
    stopped = train(PROGRAMS[name], run_dir=tmp_path, handlers=[StopsInside(whole.state.iteration // 2)])[0]
    assert stopped.status == "interrupted"
    assert_same(train(PROGRAMS[name], run_dir=tmp_path)[1], expected)
