"""The usual schedule: its numbers, by hand and by torch's own schedulers; what is refused; that a run goes on with it."""

import pytest
import torch
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LinearLR, SequentialLR

from framework import Schedule, SettingError, warmup_schedule

TOTAL, WARM = 50, 10


def optimizer_of(*rates):
    groups = [{"params": [torch.nn.Parameter(torch.ones(1))], "lr": rate} for rate in rates]
    return torch.optim.SGD(groups, lr=0.0)


def rates(optimizer, scheduler, steps):
    taken = []
    for _ in range(steps):
        taken.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    return taken


def ours(*given, steps=TOTAL, total=TOTAL, **settings):
    optimizer = optimizer_of(*given)
    schedule = warmup_schedule(optimizer, total, **settings)
    assert isinstance(schedule, Schedule)
    assert (schedule.every, schedule.monitor) == ("step", None)
    return rates(optimizer, schedule.scheduler, steps)


def theirs(*given, after):
    optimizer = optimizer_of(*given)
    warm = LinearLR(optimizer, start_factor=1 / (WARM + 1), total_iters=WARM)
    return rates(optimizer, SequentialLR(optimizer, [warm, after(optimizer)], milestones=[WARM]), TOTAL)


@pytest.mark.parametrize(
    ("settings", "after"),
    [
        ({}, lambda optimizer: CosineAnnealingLR(optimizer, T_max=TOTAL - WARM)),
        ({"decay": "linear"}, lambda optimizer: LinearLR(optimizer, 1.0, 0.0, total_iters=TOTAL - WARM)),
        ({"decay": "linear", "final": 0.25}, lambda optimizer: LinearLR(optimizer, 1.0, 0.25, total_iters=TOTAL - WARM)),
        ({"decay": "constant"}, lambda optimizer: ConstantLR(optimizer, factor=1.0)),
    ],
    ids=["cosine", "linear", "linear to a quarter", "constant"],
)
@pytest.mark.parametrize("warmup", [WARM, WARM / TOTAL])
def test_the_rates_are_those_of_torchs_schedulers_one_after_the_other(settings, after, warmup):
    expected = theirs(0.5, 0.125, after=after)
    for mine, yours in zip(ours(0.5, 0.125, warmup=warmup, **settings), expected, strict=True):
        assert mine == pytest.approx(yours, rel=1e-9, abs=1e-12)


def test_it_stays_where_it_has_come_to():
    assert ours(1.0, steps=60, total=10, warmup=0, final=0.5)[10:] == [[0.5]] * 50
    assert ours(1.0, steps=30, total=10, warmup=0)[10:] == [[0.0]] * 20


@pytest.mark.parametrize(("warmup", "first"), [(0, 1.0), (0.0, 1.0), (0.05, 1.0), (1, 0.5), (0.1, 0.5)])
def test_short_warmups(warmup, first):
    assert ours(1.0, total=10, steps=2, warmup=warmup)[0] == [first]


def test_a_single_step_takes_the_whole_rate():
    assert ours(1.0, total=1, steps=1) == [[1.0]]


def test_fit_steps_it_with_each_optimizer(line, batches):
    class Module(line):
        def configure_optimizers(self):
            return {name: torch.optim.SGD([own], lr=1.0) for name, own in self.layer.named_parameters()}

        def configure_schedulers(self, optimizers, total_steps):
            return {name: warmup_schedule(each, total_steps, warmup=2, decay="linear") for name, each in optimizers.items()}

    settings = {"max_epochs": 2, "accumulate": 2, "log_every": 2, "progress": False}
    result = Module().fit(batches, **settings)
    expected = [2 / 3, 1.0, 0.75, 0.5, 0.25, 0.0]
    for name in ("weight", "bias"):
        assert [point.value for point in result.series[f"train/lr/{name}"]] == pytest.approx(expected, abs=1e-12)


@pytest.mark.fault(16)
@pytest.mark.parametrize("stopped_at", [1, 4, 7])
def test_a_run_that_goes_on_takes_the_same_rates(line, batches, stopped_at, tmp_path):
    class Module(line):
        def configure_schedulers(self, optimizers, total_steps):
            return warmup_schedule(optimizers["main"], total_steps, warmup=0.3)

    class Stop:
        def on_iteration_completed(self, engine):
            if engine.state.iteration == stopped_at:
                engine.interrupt()

    settings = {"max_epochs": 2, "log_every": 1, "progress": False, "seed": 3}
    whole = Module().fit(batches, **settings)
    Module().fit(batches, handlers=[Stop()], run_dir=tmp_path, **settings)
    result = Module().fit(batches, run_dir=tmp_path, **settings)
    for name in ("train/lr", "train/loss"):
        assert [point[:3] for point in result.series[name]] == [point[:3] for point in whole.series[name]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"optimizer": {"main": 1}}, r"takes one optimizer, such as optimizers\['main'\], got dict\. For several return"),
        ({"total_steps": None}, "needs total_steps, which fit does not know here.* Give fit epoch_length"),
        ({"total_steps": 0}, "total_steps=0: total_steps should be a whole number of at least 1"),
        ({"decay": "exponential"}, "decay='exponential' is unknown: it is one of 'cosine', 'linear', 'constant'"),
        ({"final": 1.5}, "final=1.5: final should be a share of the optimizer's rate, a number from 0 to 1"),
        ({"final": True}, "final=True: final should be a share"),
        ({"warmup": 1.0}, "warmup=1.0: warmup should be a whole number of steps below total_steps=50, or a share of them"),
        ({"warmup": 50}, "warmup=50: warmup should be a whole number of steps below total_steps=50"),
        ({"warmup": -1}, "warmup=-1: "),
        ({"warmup": True}, "warmup=True: "),
        ({"warmup": "10%"}, "warmup='10%': "),
    ],
)
def test_what_cannot_be_scheduled_is_refused(change, message):
    given = {"optimizer": optimizer_of(1.0), "total_steps": TOTAL, **change}
    with pytest.raises(SettingError, match=message):
        warmup_schedule(given.pop("optimizer"), given.pop("total_steps"), **given)


def test_data_of_unknown_length_is_refused_with_what_to_do(line, batches):
    class Module(line):
        def configure_schedulers(self, optimizers, total_steps):
            return warmup_schedule(optimizers["main"], total_steps)

    with pytest.raises(SettingError, match="needs total_steps"):
        Module().fit(lambda: iter(batches), max_epochs=2, progress=False)
    Module().fit(lambda: iter(batches), max_epochs=2, epoch_length=6, progress=False)
