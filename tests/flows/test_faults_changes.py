"""What may differ when a run goes on, and what is refused with a diff that names it."""

import re

import pytest
import torch
from faulty_runs import (
    Does,
    Net,
    Noisy,
    assert_ends_as,
    assert_same_end,
    fit,
    go_on,
    loader,
    stop,
)
from torch import nn
from torch.utils.data import DataLoader

from framework import Events, ResumeError, Schedule
from framework.handlers import EMA

pytestmark = [pytest.mark.usefixtures("quick_disk"), pytest.mark.fault(35)]


@pytest.fixture
def stopped(tmp_path):
    fit(tmp_path, Does(4, do=stop))
    return tmp_path


def net(**changes):
    """A Net with some methods replaced."""
    return type("Net", (Net,), changes)()


def sgd(**options):
    return net(configure_optimizers=lambda self: torch.optim.SGD(self.parameters(), **{"lr": 0.1, "momentum": 0.9, **options}))


def other_rates(self):
    groups = [{"params": self.net[0].parameters(), "lr": 0.5}, {"params": [*self.net[1].parameters(), *self.net[4].parameters()]}]
    return torch.optim.SGD(groups, lr=0.1, momentum=0.9)


def deeper():
    module = Net()
    module.more = nn.Linear(4, 1)
    return module


def renamed():
    module = Net()
    module.net = nn.Sequential(*module.net[:4], nn.Identity(), module.net[4])
    return module


def scheduled():
    return net(configure_schedulers=lambda self, optimizers: torch.optim.lr_scheduler.StepLR(optimizers["main"], 1))


class Other(Net):
    pass


NEVER = "Make it as it was; or start a new run in another run_dir."
REFUSED = {
    "a wider network": (
        {"module": lambda: Net(hidden=7)},
        [r"model: net\.0\.weight was float32 \(6, 4\), is float32 \(7, 4\)", NEVER],
    ),
    "another argument": ({"module": lambda: Net(hidden=7)}, ["arguments: hidden was 6, is 7"]),
    "more layers": ({"module": deeper}, [r"model: more\.weight \(float32 \(1, 4\)\) is new", NEVER]),
    "other names": ({"module": renamed}, [r"model: net\.4\.weight \(.*\) is missing now", r"net\.5\.weight \(.*\) is new", NEVER]),
    "another type": ({"module": lambda: Net().double()}, [r"net\.0\.weight was float32 \(6, 4\), is float64 \(6, 4\)", NEVER]),
    "another class": ({"module": Other}, ["class: 'Net' in the run, 'Other' now", NEVER]),
    "another optimizer": (
        {"module": lambda: net(configure_optimizers=lambda self: torch.optim.Adam(self.parameters()))},
        [r"optimizers: main was SGD\(lr=\[0\.1\], momentum=0\.9.*, is Adam\(lr=\[0\.001\], ", NEVER],
    ),
    "another rate": ({"module": lambda: sgd(lr=0.2)}, [r"main was SGD\(lr=\[0\.1\].*, is SGD\(lr=\[0\.2\]", NEVER]),
    "another momentum": (
        {"module": lambda: sgd(momentum=0.8)},
        [r"main was SGD\(.*momentum=0\.9.*, is SGD\(.*momentum=0\.8", NEVER],
    ),
    "other groups": ({"module": lambda: net(configure_optimizers=other_rates)}, [r"is SGD\(lr=\[0\.5, 0\.1\]", NEVER]),
    "another name": (
        {"module": lambda: net(configure_optimizers=lambda self: {"sgd": Net.configure_optimizers(self)})},
        [r"optimizers: main \(SGD\(.*\)\) is missing now", r"optimizers: sgd \(SGD\(.*\)\) is new", NEVER],
    ),
    "a schedule": ({"module": scheduled}, [r"schedulers: \[\] in the run, \['StepLR'\] now", NEVER]),
    "more samples": (
        {"train": lambda: loader(16)},
        ["batches an epoch: 3 in the run, 4 now", "samples: 12 in the run, 16 now", NEVER],
    ),
    "as many batches": ({"train": lambda: loader(11)}, ["samples: 12 in the run, 11 now", NEVER]),
    "another batch size": ({"train": lambda: loader(batch_size=5)}, ["batch size: 4 in the run, 5 now", NEVER]),
    "another order": (
        {"train": lambda: loader(shuffle=False)},
        ["sampler: 'RandomSampler' in the run, 'SequentialSampler' now", r"or allow it: allow_changes=\('sampler',\); or start"],
    ),
    "a list": ({"train": lambda: list(loader())}, ["batch size: 4 in the run, None now", "samples: 12 in the run, 3 now"]),
    "another seed": ({"seed": 6}, [r"seed=6 differs from the seed 5 of the run in .*step-00000004\. Leave seed out, or start"]),
    "accumulation": ({"accumulate": 2}, ["accumulate: 1 in the run, 2 now", r"allow it: allow_changes=\('accumulate',\); or"]),
    "clipping": (
        {"clip_norm": 1.0, "clip_value": 2.0},
        ["clip_norm: None in the run, 1.0 now", r"allow_changes=\('clip_norm', 'cl"],
    ),
    "precision": ({"precision": "bf16"}, ["precision: None in the run, 'bf16' now"]),
    "epochs": ({"epoch_length": 2}, ["epoch_length: None in the run, 2 now", "batches an epoch: 3 in the run, 2 now", NEVER]),
    "fewer batches": ({"limit_train_batches": 2}, ["limit_train_batches: None in the run, 2 now", NEVER]),
    "seeding": ({"data_order": "sample"}, ["data_order: 'batch' in the run, 'sample' now"]),
    "NaN": ({"nan": "ignore"}, ["nan: 'stop' in the run, 'ignore' now"]),
    "validation": (
        {"val": loader, "validate_every": Events.ITERATION_COMPLETED(every=2), "monitor": "val/loss"},
        [r"validate_every: 1 in the run, 'ITERATION_COMPLETED\(every=2\)' now", "monitor: None in the run, 'val/loss' now"],
    ),
}


def given(changes):
    return {name: value() if callable(value) and name in ("module", "train", "val") else value for name, value in changes.items()}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_a_diff(stopped, whole, name):
    changes, said = REFUSED[name]
    with pytest.raises(ResumeError) as refused:
        go_on(stopped, Does(5, do=lambda engine: pytest.fail("it trained")), **given(changes))
    for text in said:
        assert re.search(text, str(refused.value))
    ended = go_on(stopped)  # nothing was touched
    assert_ends_as(whole, stopped, ended)


@pytest.mark.parametrize(
    "changes",
    [
        {"accumulate": 2},
        {"clip_norm": 1.0, "clip_value": 2.0},
        {"precision": "bf16"},
        {"nan": "ignore"},
        {"train": lambda: loader(shuffle=False), "allow_changes": ["sampler"]},
    ],
    ids=str,
)
def test_allowed_by_name(stopped, changes):
    assert go_on(stopped, **{"allow_changes": tuple(changes), **given(changes)})[1].status == "completed"


@pytest.mark.parametrize("name", ["lr", "model", "optimizers", "samples", "batch size", "epoch_length"])
def test_what_nobody_may_allow(stopped, name):
    with pytest.raises(ResumeError, match=rf"allow_changes names '{name}'; what may be allowed is validate_every, .*accumulate"):
        go_on(stopped, allow_changes=(name,))


FREE = {
    "curves": {"log_every": 2, "progress": False},
    "saving": {"save_every": 1, "save_every_s": 100.0, "keep": 1, "async_save": True},
    "limits": {"max_epochs": 2, "max_iters": 100, "max_time_s": 1000.0},
    "a watchdog": {"hang_timeout_s": 100.0},
    "the same seed": {"seed": 5},
    "the accelerator by name": {"accelerator": "cpu"},
    "a loader with workers": {"train": lambda: loader(num_workers=2, persistent_workers=True)},
    "how the optimizer computes": {"module": lambda: sgd(foreach=False)},
    "the data's own class": {"train": lambda: DataLoader(type("More", (Noisy,), {})(), batch_size=4, shuffle=True)},
}


@pytest.mark.parametrize("name", FREE)
def test_what_may_always_change(stopped, whole, name):
    assert_ends_as(whole, stopped, go_on(stopped, **given(FREE[name])))


def test_handlers_may_come_and_go(tmp_path, whole):
    fit(tmp_path, EMA(decay=0.5), Does(2, do=stop))
    fit_on = go_on(tmp_path, Does(4, do=stop))  # without the averages
    assert fit_on[1].status == "interrupted"
    ema = EMA(decay=0.5)
    assert_same_end(go_on(tmp_path, ema), whole[0])
    assert ema.n_averaged == 2  # its own, from where it came


def test_a_higher_limit_is_no_change_of_the_optimizer(tmp_path):
    class Warm(Net):
        def configure_schedulers(self, optimizers, total_steps):
            return Schedule(torch.optim.lr_scheduler.OneCycleLR(optimizers["main"], 0.2, total_steps=total_steps + 1), every="step")

    fit(tmp_path, Does(4, do=stop), module=Warm())
    assert go_on(tmp_path, module=Warm(), max_iters=5)[1].status == "completed"
