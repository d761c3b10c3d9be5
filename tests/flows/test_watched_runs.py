"""Runs with every handler that watches: trained as without them, and gone on with to the same bits and curves."""

import pytest
from faulty_runs import Does, Net, assert_same_end, difference, fit, go_on, lines, loader, stop

from framework import DeviceMemory, Norms, Timers, seed_all, verify_resume, warmup_schedule

MACHINE = ("train/time/", "train/memory/")  # follow from the clock and the process


class Scheduled(Net):
    def configure_schedulers(self, optimizers, total_steps):
        return warmup_schedule(optimizers["main"], total_steps, warmup=2)


def watchers():
    return [Norms(every=2, layers=True), Timers(), DeviceMemory()]


def scheduled(seed):
    seed_all(seed)
    return Scheduled()


def watched(run_dir, *others, **changes):
    return fit(run_dir, *watchers(), *others, module=scheduled(5), log_every=3, **changes)


def without_machine(named):
    return {name: value for name, value in named.items() if not name.startswith(MACHINE)}


def assert_same(one, other):
    for module_and_result in (one, other):
        curves = module_and_result[1].series
        assert {name.split("/")[1] for name in curves} > {"time", "memory", "lr", "grad_norm", "layer_grad_norm"}
        for name in [name for name in curves if name.startswith(MACHINE)]:
            assert len(curves.pop(name)) > 1
    assert_same_end(one, other)


def test_they_change_nothing(tmp_path):
    module, result = watched(tmp_path / "one")
    bare, plain = fit(tmp_path / "other", module=scheduled(5), log_every=3)
    assert difference(dict(module.state_dict()), dict(bare.state_dict())) is None
    assert result.metrics == plain.metrics
    assert [point[:3] for point in result.series["train/loss"]] == [point[:3] for point in plain.series["train/loss"]]


@pytest.mark.fault(16)
@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("stopped_at", range(1, 7))
def test_a_run_that_goes_on_ends_with_the_same_bits_and_curves(tmp_path, stopped_at, accumulate):
    whole = watched(tmp_path / "whole", accumulate=accumulate)
    watched(tmp_path / "run", Does(stopped_at, do=stop), accumulate=accumulate)
    gone_on = go_on(tmp_path / "run", *watchers(), module=scheduled(77), log_every=3, accumulate=accumulate)
    assert_same(whole, gone_on)
    one, other = (
        [{**line, "values": without_machine(line["values"])} for line in lines(tmp_path / folder)] for folder in ("whole", "run")
    )
    assert one == other


def test_verify_resume_finds_nothing():
    assert "the same bits" in verify_resume(Scheduled(), list(loader()), handlers=watchers(), log_every=3, progress=False)


def test_a_dry_run_leaves_them_as_they_were():
    handlers = watchers()
    Scheduled().fit(list(loader()), max_epochs=2, handlers=handlers, progress=False, dry_run=True)
    assert handlers[0].state_dict() == {"measured": {}, "newest": {}}
