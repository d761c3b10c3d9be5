"""One run of fit: the order of its events, and what it measures."""

import gc
import warnings
import weakref
from collections import Counter
from contextlib import nullcontext

import pytest
import torch
from torch import nn

from framework import Events, StepEvents


def test_events_of_a_run_in_order(line, batches, trace):
    line().fit(batches[:2], batches[:1], max_epochs=2, handlers=[trace], progress=False)
    epoch = ["epoch_started", "iteration_completed", "iteration_completed", "evaluation_completed", "epoch_completed"]
    assert trace.seen == ["started", *epoch, *epoch, "completed", "closed"]


def test_on_epoch_completed_sees_the_metrics_of_its_epoch(line, batches):
    seen = []

    class Module(line):
        def on_epoch_completed(self, engine):
            seen.append(dict(engine.state.metrics))

    result = Module().fit(batches, batches[:2], max_epochs=2, progress=False)
    assert [set(metrics) for metrics in seen] == [{"train/loss", "val/loss"}] * 2
    assert seen[1] == result.metrics
    assert seen[0] != seen[1]
    assert [row["val/loss"] for row in result.history] == [metrics["val/loss"] for metrics in seen]


def test_handlers_run_in_their_order_and_before_the_module(line, batches):
    order = []

    class Handler:
        def __init__(self, name):
            self.name = name

        def on_completed(self):
            order.append(self.name)

    class Module(line):
        def on_completed(self):
            order.append("module")

    Module().fit(batches, max_epochs=1, handlers=[Handler("first"), Handler("second")], progress=False)
    assert order == ["first", "second", "module"]


def test_validate_every_takes_epochs_and_events(line, batches):
    for validate_every, rows in (
        (2, [12]),
        (Events.ITERATION_COMPLETED(every=5), [5, 10, 15]),
        (Events.STARTED | Events.EPOCH_COMPLETED, [0, 6, 12, 18]),
        ("EPOCH_STARTED", [0, 6, 12]),
    ):
        result = line().fit(batches, batches[:1], max_epochs=3, validate_every=validate_every, progress=False)
        assert [row["iteration"] for row in result.history if "val/loss" in row] == rows


def test_modes_are_train_in_steps_and_put_back_afterwards(line, batches):
    class Module(line):
        def __init__(self):
            super().__init__()
            self.frozen = nn.Dropout(0.5)

        def training_step(self, batch):
            assert self.training
            assert self.frozen.training
            return super().training_step(batch)

        def evaluation_step(self, batch):
            assert not self.training
            assert not torch.is_grad_enabled()
            return super().evaluation_step(batch)

    module = Module()
    module.frozen.eval()
    module.fit(batches, batches, max_epochs=2, progress=False)
    assert module.training
    assert not module.frozen.training


def test_logged_values_are_weighted_and_appear_in_metrics_and_history(line, batches):
    class Module(line):
        def training_step(self, batch, engine):
            self.log("count", float(engine.state.iteration), n=engine.state.iteration)
            return {"loss": super().training_step(batch), "half": 0.5}

        def on_epoch_completed(self):
            self.log("late", 3.0)

    result = Module().fit(batches[:3], max_epochs=1, log_every=2, progress=False)
    assert result.metrics["train/count"] == pytest.approx((1 + 4 + 9) / 6)
    assert result.metrics["train/half"] == 0.5
    assert result.history[0]["train/late"] == 3.0
    assert [point.iteration for point in result.series["train/loss"]] == [2, 3]


@pytest.mark.parametrize("fails", [False, True])
def test_the_module_is_freed_by_counting_references(line, batches, fails):
    class Module(line):
        def on_epoch_completed(self):
            if fails:
                raise KeyError("broken")

    def run():
        module = Module()
        with pytest.raises(KeyError, match="broken") if fails else nullcontext():
            module.fit(batches, batches, max_epochs=1, progress=False)
        return weakref.ref(module)

    run()  # the first optimizer of a process leaves it with torch
    gc.collect()
    gc.disable()
    try:
        assert run()() is None
    finally:
        gc.enable()


def test_the_engine_is_freed_by_counting_references(line, batches):
    engines = []

    class Module(line):
        def on_started(self, engine):
            engines.append(weakref.ref(engine))

        def on_backward_completed(self):
            pass

    gc.collect()
    gc.disable()
    try:
        module = Module()
        result = module.fit(batches, batches, max_epochs=1, accumulate=4, clip_norm=1.0, progress=True)
        assert [engine() for engine in engines] == [None]
    finally:
        gc.enable()
    assert (result.state.batch, result.state.output, result.state.dataloader) == (None, None, None)


def test_own_events_have_hooks(line, batches):
    from framework import EventEnum, on

    class Games(EventEnum):
        GAME_WON = "game_won"

    seen = []

    class Module(line):
        events = (Games,)

        def on_iteration_completed(self, engine):
            engine.fire_event(Games.GAME_WON)

        def on_game_won(self, engine):
            seen.append(engine.state.iteration)

    class Handler:
        def on_game_won(self, engine):
            seen.append(-engine.state.iteration)

        @on(Games.GAME_WON)
        def tell(self):
            seen.append("told")

    Module().fit(batches[:2], max_epochs=1, handlers=[Handler()], progress=False)
    assert seen == [-1, "told", 1, -2, "told", 2]


def test_each_step_event_reaches_its_hook(line, batches):
    seen = Counter()

    class Module(line):
        def on_loss_computed(self, loss):
            seen["loss_computed"] += loss.requires_grad

        def on_backward_completed(self):
            seen["backward_completed"] += self.layer.weight.grad is not None

        def on_optimizer_step_started(self, engine, optimizer):
            seen["optimizer_step_started"] += optimizer is engine.state.optimizers["main"]

        def on_optimizer_step_completed(self, engine, optimizer):
            seen["optimizer_step_completed"] += optimizer is engine.state.optimizers["main"]

        def on_closed(self):
            seen["closed"] += 1

    Module().fit(batches, max_epochs=1, accumulate=2, progress=False)
    assert seen == {
        "loss_computed": 6,
        "backward_completed": 6,
        "optimizer_step_started": 3,
        "optimizer_step_completed": 3,
        "closed": 1,
    }
    assert {*seen, "evaluated"} == {event.value for event in StepEvents}


def test_a_good_run_warns_of_nothing(line, batches):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        line().fit(batches, batches, max_epochs=2, progress=False)
