"""The order in which the handlers of a run come, seen from outside: by what each of them does."""

import signal
from contextlib import nullcontext

import pytest
import torch

from framework import Events, Schedule, on
from framework.checkpoint import CheckpointStore
from framework.handlers import EarlyStopping
from framework.module.stopping.signals import Interrupted


@pytest.fixture
def seen(monkeypatch):
    """What happened, in order; the checkpoints too."""
    notes = []
    write = CheckpointStore.write

    def noted(self, save, group=None):
        notes.append("checkpoint")
        return write(self, save, group)

    monkeypatch.setattr(CheckpointStore, "write", noted)
    return notes


@pytest.fixture
def noted_run(line, batches, tmp_path, seen):
    """Runs fit with something at every event that notes itself."""

    class ByStep(torch.optim.lr_scheduler.StepLR):
        name = "step schedule"

        def step(self, *arguments):
            if self.last_epoch >= 0:  # else torch makes it
                seen.append(self.name)
            super().step(*arguments)

    class ByEpoch(ByStep):
        name = "epoch schedule"

    class Plateau(torch.optim.lr_scheduler.ReduceLROnPlateau):
        def step(self, *arguments):
            seen.append("monitored schedule")
            super().step(*arguments)

    class Stopping(EarlyStopping):
        def on_evaluated(self, engine):
            seen.append("early stopping")
            super().on_evaluated(engine)

    class Noted:
        def __init__(self, name):
            self.name = name

        def on_started(self):
            seen.append(f"{self.name} started")

        def on_iteration_completed(self):
            seen.append(f"{self.name} iteration")

        def on_epoch_completed(self, engine):
            seen.append(f"{self.name} epoch {sorted(engine.state.metrics)}")

        def on_interrupt(self):
            seen.append(f"{self.name} interrupt")

        def on_completed(self):
            seen.append(f"{self.name} completed")

        def on_closed(self):
            seen.append(f"{self.name} closed")

    class Mine(Noted, line):
        def __init__(self):
            line.__init__(self)
            self.name = "module"

        def training_step(self, batch):
            seen.append("step")
            return super().training_step(batch)

        def evaluation_step(self, batch):
            seen.append("evaluation")
            return super().evaluation_step(batch)

        def configure_schedulers(self, optimizers):
            optimizer = optimizers["main"]
            return {
                "monitored": Schedule(Plateau(optimizer), monitor="val/loss"),
                "epoch": ByEpoch(optimizer, 1),
                "step": Schedule(ByStep(optimizer, 1), every="step"),
            }

        @on(Events.EPOCH_COMPLETED)
        def tell(self):
            seen.append("module marked")

    def run(val=True, handlers=(), module=Mine, **given):
        handlers = [Noted("first"), Stopping("val/loss", patience=9), Noted("second"), *handlers]
        given = {"max_epochs": 1, "run_dir": tmp_path, "save_every": Events.EPOCH_COMPLETED, **given}
        return module().fit(batches[:2], batches[:1] if val else None, handlers=handlers, progress=False, **given)

    run.module, run.noted = Mine, Noted
    return run


ITERATION = ["step", "step schedule", "first iteration", "second iteration", "module iteration"]
METRICS = "epoch ['train/loss', 'val/loss']"
EPOCH = [
    "epoch schedule",
    "evaluation",
    "monitored schedule",
    "early stopping",
    f"first {METRICS}",
    f"second {METRICS}",
    f"module {METRICS}",
    "module marked",
    "checkpoint",
]
STARTED = ["checkpoint", "first started", "second started", "module started"]
COMPLETED = ["first completed", "second completed", "module completed"]
CLOSED = ["first closed", "second closed", "module closed"]


def test_a_whole_run(noted_run, seen):
    noted_run(max_epochs=2)
    assert seen == [*STARTED, *2 * [*2 * ITERATION, *EPOCH], *COMPLETED, *CLOSED]


def test_a_checkpoint_comes_after_the_handlers_of_an_iteration(noted_run, seen):
    noted_run(save_every=Events.ITERATION_COMPLETED)
    assert seen[len(STARTED) :] == [*2 * [*ITERATION, "checkpoint"], *EPOCH[:-1], "checkpoint", *COMPLETED, *CLOSED]


def test_an_evaluation_after_an_iteration_comes_before_its_handlers(noted_run, seen):
    noted_run(validate_every=Events.ITERATION_COMPLETED(once=1), monitor="val/loss")
    evaluated = ["step", "step schedule", "evaluation", "monitored schedule", "early stopping", *ITERATION[2:], "checkpoint"]
    epoch = [name for name in EPOCH if name not in ("evaluation", "monitored schedule", "early stopping")]
    assert seen[len(STARTED) :] == [*evaluated, *ITERATION, *epoch, *COMPLETED, *CLOSED]


def test_the_rest_of_an_epoch_is_evaluated_and_saved_before_the_handlers_of_the_end(noted_run, seen):
    noted_run(max_epochs=None, max_iters=3)
    rest = ["evaluation", "monitored schedule", "early stopping", "checkpoint"]
    assert seen == [*STARTED, *2 * ITERATION, *EPOCH, *ITERATION, *rest, *COMPLETED, *CLOSED]


def test_a_run_that_is_terminated(noted_run, seen):
    class Ends:
        def on_iteration_completed(self, engine):
            engine.terminate()

        def on_terminate(self):
            seen.append("terminate")

    noted_run(handlers=[Ends()])
    rest = ["evaluation", "monitored schedule", "early stopping", "checkpoint"]
    assert seen == [*STARTED, *ITERATION, "terminate", *rest, *COMPLETED, *CLOSED]


def test_an_interruption_is_saved_after_its_handlers(noted_run, seen):
    class Pauses:
        def on_iteration_completed(self, engine):
            engine.interrupt()

    noted_run(handlers=[Pauses()])
    assert seen == [*STARTED, *ITERATION, "first interrupt", "second interrupt", "module interrupt", "checkpoint", *CLOSED]


def test_a_signal_in_an_evaluation_undoes_what_came_before_it(noted_run, seen):
    class Signalled(noted_run.module):
        def evaluation_step(self, batch):
            seen.append("evaluation")
            signal.raise_signal(signal.SIGTERM)
            return {"loss": 1.0}

    Signalled.__name__ = "Mine"
    with pytest.raises(Interrupted):
        noted_run(module=Signalled)
    interrupted = ["first interrupt", "second interrupt", "module interrupt", "checkpoint"]
    assert seen == [*STARTED, *2 * ITERATION, "epoch schedule", "evaluation", *interrupted, *CLOSED]
    seen.clear()
    noted_run()
    assert seen == [*STARTED[1:], *EPOCH, *COMPLETED, *CLOSED]  # all of the epoch's end comes again


def test_a_run_that_goes_on_has_started_handlers_before_its_state(noted_run, seen, tmp_path):
    weights = []

    class Looks(noted_run.module):
        def on_started(self):
            weights.append(self.layer.weight.detach().clone())
            super().on_started()

        def on_iteration_started(self):
            weights.append(self.layer.weight.detach().clone())

    noted_run()
    seen.clear()
    Looks.__name__ = "Mine"
    noted_run(module=Looks, max_epochs=2)
    assert seen == [*STARTED[1:], *2 * ITERATION, *EPOCH, *COMPLETED, *CLOSED]
    assert not torch.equal(weights[0], weights[1])
    module = noted_run.module.load(tmp_path / "checkpoints" / "step-00000002")
    assert torch.equal(weights[1], module.layer.weight)


def test_what_hooks_log_is_in_the_point_of_their_iteration(line, batches):
    class Mine(line):
        def on_iteration_completed(self, engine):
            self.log("late", float(engine.state.iteration))

    result = Mine().fit(batches[:2], max_epochs=1, log_every=1, progress=False)
    assert [(point.iteration, point.value) for point in result.series["train/late"]] == [(1, 1.0), (2, 2.0)]


@pytest.mark.parametrize("data", ["known", "unknown"])
def test_the_progress_goes_on_where_the_run_does(line, batches, tmp_path, capsys, data):
    class Pauses:
        def on_iteration_completed(self, engine):
            if engine.state.iteration == 2:
                engine.interrupt()

    train = batches[:3] if data == "known" else lambda: iter(batches[:3])
    given = {"max_epochs": 2, "run_dir": tmp_path}
    line().fit(train, handlers=[Pauses()], **given)
    assert "Going on" not in capsys.readouterr().out
    with pytest.warns(UserWarning, match="2 batches are read") if data == "unknown" else nullcontext():
        line().fit(train, **given)
    said = capsys.readouterr().out
    assert said.startswith(f"Going on from iteration 2 (epoch 1): {tmp_path / 'checkpoints' / 'step-00000002'}\n")
    assert "epoch 1/2" in said
    assert "epoch 2/2" in said


@pytest.mark.parametrize(("max_iters", "ended"), [(3, 3), (9, 4)])
def test_of_two_limits_the_first_ends_a_run_of_unknown_length(line, batches, max_iters, ended):
    result = line().fit(lambda: iter(batches[:2]), max_epochs=2, max_iters=max_iters, progress=False)
    assert (result.status, result.state.iteration) == ("completed", ended)


def test_time_alone_may_end_a_run(line, batches, monkeypatch):
    clock = iter(range(10_000))
    monkeypatch.setattr("framework.module.stopping.boundary.perf_counter", lambda: next(clock))
    for train in (batches[:2], lambda: iter(batches[:2])):
        result = line().fit(train, max_time_s=20, progress=False)
        assert (result.status, result.reason) == ("interrupted", "max_time_s=20 was reached.")
        assert result.state.epoch > 3
        assert result.state.max_epochs is None


@pytest.mark.fault(19)
def test_time_alone_ends_a_run_that_goes_on(line, batches, tmp_path, monkeypatch, assert_same_weights):
    clock = iter(range(10_000))
    monkeypatch.setattr("framework.module.stopping.boundary.perf_counter", lambda: next(clock))
    results = [line().fit(batches, max_time_s=9, run_dir=tmp_path, progress=False) for _ in range(3)]
    iterations = [result.state.iteration for result in results]
    assert 0 < iterations[0] < iterations[1] < iterations[2]
    whole = line()
    whole.fit(batches, max_iters=iterations[2], progress=False)
    assert_same_weights(line.load(tmp_path), whole)


def test_time_alone_with_data_that_ends(line, batches):
    with pytest.warns(UserWarning, match="Data iterator can not provide data anymore"):
        result = line().fit(iter(batches), max_time_s=1e9, epoch_length=4, progress=False)
    assert (result.status, result.reason) == ("stopped", "The data ended after 6 iterations.")


def test_nothing_is_registered_that_the_run_does_not_need(line, batches):
    registered = {}

    class Mine(line):
        def on_started(self, engine):
            registered.update({event.name: len(engine._table.slots[event].records) for event in Events})

    Mine().fit(batches, max_epochs=1, progress=False)
    silent = ("GET_BATCH_STARTED", "GET_BATCH_COMPLETED", "ITERATION_STARTED", "EXCEPTION_RAISED")
    assert [registered[name] for name in silent] == [0] * 4
    assert registered["ITERATION_COMPLETED"] == 2  # every log_every, and the boundary
