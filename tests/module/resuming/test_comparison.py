"""What has to be the same when a run goes on; each difference has a line."""

import json
import re
from functools import partial

import pytest
import torch
from torch import nn

from framework import CSVLogger, Events, ResumeError, TrainModule
from framework.module.resuming.comparison import FREE, describe_run, refuse_changes, refuse_other_seed
from framework.module.schedules import Schedule, Schedules
from framework.module.settings import FitSettings

DATA = {"samples": 14, "batch size": 4, "sampler": "RandomSampler"}
DEFAULTS = TrainModule.fit.__kwdefaults__


class Net(TrainModule):
    def __init__(self, width=2, dropout=0.1, names=None):
        super().__init__()
        self.layer = nn.Linear(width, 1)
        self.names = names

    def get_extra_state(self):
        return {"a": 1}


def described(module=None, optimizer=torch.optim.SGD, lr=0.1, scheduler=True, batches=4, data=DATA, **settings):
    module = module or Net()
    optimizers = {"main": optimizer(module.parameters(), lr=lr)}
    schedules = Schedules(torch.optim.lr_scheduler.StepLR(optimizers["main"], 1) if scheduler else None, optimizers, "Net")
    given = FitSettings(**{**DEFAULTS, "max_epochs": 1, "run_dir": "run", **settings})
    return describe_run(module, given, optimizers, schedules, batches, data)


def refused(then, now, *allowed):
    with pytest.raises(ResumeError) as caught:
        refuse_changes(then, now, allowed, "runs/a/step-00000004")
    first, *lines, last = str(caught.value).splitlines()
    assert first == "The run in runs/a/step-00000004 cannot go on, since this differs:"
    return [line.strip() for line in lines], last


pytestmark = pytest.mark.fault(35)


def test_the_description_is_plain():
    now = described(validate_every=Events.EPOCH_COMPLETED, clip_norm=1.0)
    assert json.loads(json.dumps(now)) == now
    assert now["model"] == {"layer.weight": "float32 (1, 2)", "layer.bias": "float32 (1,)"}
    assert now["optimizers"].keys() == {"main"}
    assert now["optimizers"]["main"].startswith("SGD(lr=[0.1], momentum=0, ")
    assert now["schedulers"] == ["StepLR"]
    assert now["arguments"] == {"width": "2", "dropout": "0.1", "names": "None"}


def test_the_same_goes_on():
    refuse_changes(described(clip_norm=1.0), described(clip_norm=1.0), (), "run")


FREELY = {
    "max_epochs": 9,
    "max_iters": 9,
    "max_time_s": 2.0,
    "log_every": 7,
    "accelerator": "cpu",
    "compile": True,
    "strategy": "ddp",
    "batch": "global",
    "checkpoint_activations": True,
    "handlers": [object()],
    "loggers": [CSVLogger()],
    "progress": False,
    "run_dir": "other",
    "resume": "must",
    "allow_changes": ["nan"],
    "save_every": 3,
    "save_every_s": 1.0,
    "async_save": True,
    "keep": None,
    "hang_timeout_s": 3.0,
    "seed": 3,
    "debug": True,
    "dry_run": True,
}


def test_some_settings_may_always_change():
    refuse_changes(described(), described(**FREELY), (), "run")
    assert FREELY.keys() == FREE


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"clip_norm": 2.0}, "clip_norm: None in the run, 2.0 now"),
        ({"accumulate": 3}, "accumulate: 1 in the run, 3 now"),
        ({"precision": "bf16"}, "precision: None in the run, 'bf16' now"),
        ({"nan": "ignore"}, "nan: 'stop' in the run, 'ignore' now"),
        ({"deterministic": True}, "deterministic: False in the run, True now"),
        ({"monitor": "val/loss"}, "monitor: None in the run, 'val/loss' now"),
        ({"validate_every": 2}, "validate_every: 1 in the run, 2 now"),
        ({"validate_every": "STARTED"}, "validate_every: 1 in the run, 'STARTED' now"),
        ({"validate_every": Events.STARTED}, "validate_every: 1 in the run, 'STARTED' now"),
        (
            {"validate_every": Events.ITERATION_COMPLETED(every=3)},
            "validate_every: 1 in the run, 'ITERATION_COMPLETED(every=3)' now",
        ),
        (
            {"validate_every": Events.STARTED | Events.EPOCH_COMPLETED(once=3)},
            "validate_every: 1 in the run, 'STARTED | EPOCH_COMPLETED(filtered)' now",
        ),
        ({"data": {**DATA, "sampler": None}}, "sampler: 'RandomSampler' in the run, None now"),
        ({"module": Net(dropout=0.5)}, "arguments: dropout was 0.1, is 0.5"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_change_that_may_be_allowed(change, line):
    then, now = described(), described(**change)
    lines, last = refused(then, now)
    assert lines == [line]
    name = line.partition(":")[0]
    assert last == f"Make it as it was, or allow it: allow_changes=('{name}',); or start a new run in another run_dir."
    refuse_changes(then, now, (name,), "run")


class Other(Net):
    pass


def test_what_never_may_change():
    other = Other()
    other.layer = nn.Linear(3, 1, bias=False)
    other.more = nn.Parameter(torch.ones(2, dtype=torch.bfloat16))
    lines, last = refused(described(), described(other, scheduler=False, batches=None, epoch_length=3, data={}))
    assert lines == [
        "epoch_length: None in the run, 3 now",
        "class: 'Net' in the run, 'Other' now",
        "model: layer.bias (float32 (1,)) is missing now",
        "model: more (bfloat16 (2,)) is new",
        "model: layer.weight was float32 (1, 2), is float32 (1, 3)",
        "batches an epoch: 4 in the run, None now",
        "samples: 14 in the run, None now",
        "batch size: 4 in the run, None now",
        "sampler: 'RandomSampler' in the run, None now",
        "schedulers: ['StepLR'] in the run, [] now",
    ]
    assert last == "Make it as it was; or start a new run in another run_dir."


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"optimizer": torch.optim.Adagrad}, r"optimizers: main was SGD\(lr=\[0.1\], .*\), is Adagrad\(lr=\[0.1\], .*\)"),
        ({"lr": 0.2}, r"optimizers: main was SGD\(lr=\[0.1\], .*\), is SGD\(lr=\[0.2\], .*\)"),
        ({"optimizer": partial(torch.optim.SGD, momentum=0.9)}, r"optimizers: main was SGD\(.*m=0, .*, is SGD\(.*momentum=0.9, .*"),
    ],
    ids=["type", "rate", "option"],
)
def test_another_optimizer(change, line):
    lines, _ = refused(described(), described(**change))
    assert len(lines) == 1
    assert re.fullmatch(line, lines[0])


def test_how_an_optimizer_computes_may_change():
    refuse_changes(described(), described(optimizer=partial(torch.optim.SGD, foreach=True)), (), "run")


def test_all_changes_come_in_one_message():
    then, now = described(), described(clip_norm=1.0, nan="ignore", optimizer=torch.optim.Adagrad)
    lines, last = refused(then, now)
    assert [line.partition(":")[0] for line in lines] == ["clip_norm", "nan", "optimizers"]
    assert "allow" not in last
    lines, _ = refused(then, now, "clip_norm", "nan")
    assert [line.partition(":")[0] for line in lines] == ["optimizers"]
    _, last = refused(then, described(clip_norm=1.0, nan="ignore"))
    assert "allow it: allow_changes=('clip_norm', 'nan');" in last


def test_a_lazy_layer_has_no_shape_that_could_differ():
    lazy = Net()
    lazy.layer = nn.LazyLinear(1)
    then, now = described(), described()
    now["model"] = dict.fromkeys(now["model"], "not yet known")
    refuse_changes(then, now, (), "run")
    refuse_changes(now, then, (), "run")
    assert described(lazy)["model"] == now["model"]


@pytest.mark.parametrize("name", ["clip", "class", "model", "optimizers", "schedulers", "samples", "max_epochs"])
def test_what_cannot_be_allowed_is_named(name):
    now = described()
    with pytest.raises(ResumeError, match=f"allow_changes names '{name}'; what may be allowed is .*clip_norm, .*, arguments"):
        refuse_changes(now, now, (name,), "run")


def test_what_an_older_version_did_not_note_is_none():
    then, now = described(), described()
    del then["data_order"]
    assert refused(then, now)[0] == ["data_order: None in the run, 'batch' now"]


def test_the_seed_is_that_of_the_run():
    refuse_other_seed(None, 3, "run")
    refuse_other_seed(3, 3, "run")
    with pytest.raises(
        ResumeError, match=r"seed=0 differs from the seed 3 of the run in runs/a. Leave seed out, or start a new run"
    ):
        refuse_other_seed(0, 3, "runs/a")


def test_a_schedule_is_known_by_its_scheduler():
    module = Net()
    optimizers = {"main": torch.optim.SGD(module.parameters(), lr=0.1)}
    plateau = Schedule(torch.optim.lr_scheduler.ReduceLROnPlateau(optimizers["main"]), monitor="val/loss")
    given = FitSettings(**{**DEFAULTS, "max_epochs": 1, "run_dir": "run"})
    assert describe_run(module, given, optimizers, Schedules(plateau, optimizers, "Net"), 1, DATA)["schedulers"] == [
        "ReduceLROnPlateau"
    ]


def test_another_batch_because_of_another_number_of_processes_has_advice():
    then, now = described(), described(data={**DATA, "batch size": 8})
    for processes, told in {(1, 2): True, (1, 1): False}.items():
        with pytest.raises(ResumeError, match="batch size: 4 in the run, 8 now") as caught:
            refuse_changes(then, now, (), "run", processes)
        advice = "The run had 1 processes and has 2 now; the batch size is that of a step of all of them."
        assert (advice in str(caught.value)) == told
        assert ("give the loader batch_size=4 and fit batch='global'." in str(caught.value)) == told
