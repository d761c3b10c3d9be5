"""fit(dry_run=True): what runs, what is refused, what comes back. That nothing is left is in tests/flows."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from framework import (
    CheckpointError,
    Events,
    ModuleError,
    NonFiniteError,
    Schedule,
    SettingError,
    StepEvents,
    TrainModule,
    on,
)
from framework.handlers import EarlyStopping
from tests.distributed.ranks import on_ranks


def rehearse(module, train, val=None, **settings):
    return module.fit(train, val, **{"max_epochs": 3, "progress": False, **settings}, dry_run=True)


class Watcher:
    """Writes down the events of a run, all of them."""

    def __init__(self):
        self.seen = []

    @on(*(event for event in (*Events, *StepEvents) if event != Events.EXCEPTION_RAISED))
    def note(self, engine):
        self.seen.append(engine.last_event_name)

    def on_evaluation_iteration_completed(self, engine):
        self.seen.append(f"evaluation of {engine.state.stage}")


def test_the_events_are_those_of_a_run_of_one_batch(line, batches):
    seen = []
    for train, settings in ((batches[:1], {"max_epochs": 1}), (batches, {"max_epochs": 3, "dry_run": True})):
        watcher = Watcher()
        line().fit(train, {"a": batches[:1], "b": batches[1:2]}, handlers=[watcher], progress=False, **settings)
        seen.append(watcher.seen)
    assert seen[0] == seen[1]
    for event in (Events.STARTED, StepEvents.LOSS_COMPUTED, "evaluation of val", StepEvents.EVALUATED, Events.COMPLETED):
        assert event in seen[1]


@pytest.mark.parametrize(
    "settings",
    [
        {"max_epochs": 50},
        {"max_epochs": None, "max_iters": 9},
        {"max_epochs": None, "max_time_s": 1e-9},
        {"epoch_length": 4},
        {"limit_train_batches": 5},
        {"validate_every": 7, "limit_val_batches": 2},
        {"validate_every": Events.STARTED | Events.ITERATION_COMPLETED(every=100)},
    ],
)
def test_one_batch_is_read_whatever_the_limits(line, batches, counted, settings):
    val = type(counted)(batches)
    result = rehearse(line(), counted, val, **settings)
    assert (counted.reads, val.reads) == (1, 1)
    assert (result.state.iteration, result.state.epoch) == (1, 1)
    assert len(result.history) == 1
    assert set(result.metrics) == {"train/loss", "val/loss"}


def test_the_result_says_that_nothing_was_trained(line, batches):
    result = rehearse(line(), batches)
    assert (result.status, result.reason) == ("stopped", "dry_run: one batch of everything.")
    assert result.metrics["train/loss"] > 0
    assert result.state.optimizers == {}


def test_the_summary_is_printed_also_without_progress(line, batches, capsys):
    rehearse(line(), batches, batches)
    text = capsys.readouterr().out
    assert text.startswith("Dry run of Line on cpu in fp32: one batch of everything.\n")
    assert "  layer  Linear           5  (8, 4) -> (8, 1)\n" in text
    assert "val batch   (float32 (8, 4), float32 (8, 1))" in text
    assert "checkpoint" not in text
    assert "epoch 1/" not in text


@pytest.mark.parametrize(("n", "taken"), [(6, 3), (2, 2)])
def test_of_accumulated_batches_one_window_is_taken(line, batches, n, taken, capsys):
    watcher = Watcher()
    result = rehearse(line(), batches[:n], accumulate=3, handlers=[watcher])
    assert result.state.iteration == taken
    assert watcher.seen.count(StepEvents.OPTIMIZER_STEP_COMPLETED) == 1
    assert f"{taken} of them for a step" in capsys.readouterr().out


def test_data_without_a_length_gives_one_window_too(line, batches):
    assert rehearse(line(), lambda: iter(batches), accumulate=4).state.iteration == 4


def test_no_data_needs_none(line, capsys):
    class Module(line):
        def training_step(self, batch):
            return self(torch.ones(2, 4)).sum()

    assert rehearse(Module(), None, epoch_length=5).state.iteration == 1
    assert "batch       None" in capsys.readouterr().out


def test_schedules_are_told_the_steps_of_the_whole_run(line, batches):
    told = []

    class Module(line):
        def configure_schedulers(self, optimizers, total_steps):
            told.append(total_steps)

    rehearse(Module(), batches, max_epochs=5, limit_train_batches=4, accumulate=2)
    assert told == [10]


def test_each_yield_of_a_step_runs(batches, capsys):
    class Pair(TrainModule):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(4, 1), nn.Linear(4, 1)

        def training_step(self, batch):
            yield "one", self.one(batch[0]).sum()
            yield "two", (self.two(batch[0]) + self.one(batch[0]).detach()).sum()

        def configure_optimizers(self):
            return {"one": torch.optim.Adam(self.one.parameters()), "two": torch.optim.SGD(self.two.parameters(), lr=0.1)}

    result = rehearse(Pair(), batches)
    assert result.state.optimizer_steps == {"one": 1, "two": 1}
    text = capsys.readouterr().out
    assert text.count("(8, 4) -> (8, 1)") == 2
    assert "2 calls" in text


def test_closures_run(line, batches, capsys):
    class Module(line):
        def configure_optimizers(self):
            return torch.optim.LBFGS(self.parameters(), max_iter=3)

    assert rehearse(Module(), batches).state.optimizer_steps == {"main": 1}
    assert "3 calls" in capsys.readouterr().out


def test_predictions_are_not_made(line, batches):
    class Module(line):
        def prediction_step(self, batch):
            raise AssertionError("not asked for")

    rehearse(Module(), batches, batches)


def test_a_compiled_step_does_not_show_its_layers(line, batches, capsys):
    rehearse(line(), batches, compile={"backend": "eager"})
    text = capsys.readouterr().out
    assert "The step is compiled: it does not show which layers it calls" in text
    assert text.count("->") == 1
    assert "not used" not in text


class TestMonitors:
    def test_of_the_run_is_looked_up(self, line, batches, tmp_path):
        with pytest.raises(
            SettingError, match=r"monitor='val/lost_loss': the evaluation gives no such metric. There are 'val/loss'"
        ):
            rehearse(line(), batches, batches, monitor="val/lost_loss", run_dir=tmp_path / "run")
        with pytest.raises(SettingError, match=r"monitor='val/size'.* cannot be told"):
            rehearse(line(), batches, batches, monitor="val/size", run_dir=tmp_path / "run")
        assert list(tmp_path.iterdir()) == []

    def test_of_a_schedule_is_looked_up(self, line, batches):
        class Module(line):
            def configure_schedulers(self, optimizers):
                plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizers["main"])
                return Schedule(plateau, monitor="val/lost")

        with pytest.raises(ModuleError, match=r"Schedule\(monitor='val/lost'\).*it gives val/loss"):
            rehearse(Module(), batches, batches, validate_every=100)

    def test_of_early_stopping_is_looked_up(self, line, batches):
        with pytest.raises(SettingError, match=r"monitor='val/lost_loss': the evaluation gives no such metric"):
            rehearse(line(), batches, batches, validate_every=100, handlers=[EarlyStopping("val/lost_loss")])


class TestCheckpoints:
    def test_what_cannot_be_stored_is_refused_and_nothing_is_written(self, line, batches, tmp_path):
        class Module(line):
            def get_extra_state(self):
                return {"what": object()}

            def set_extra_state(self, state):
                pass

        with pytest.raises(CheckpointError, match=r"model\._extra_state\.what"):
            rehearse(Module(), batches, run_dir=tmp_path / "run")
        assert list(tmp_path.iterdir()) == []
        assert rehearse(Module(), batches).status == "stopped"  # without a folder there is no checkpoint

    def test_its_size_is_told(self, line, batches, tmp_path, capsys):
        result = rehearse(line(), batches, batches, run_dir=tmp_path / "run", monitor="val/loss")
        assert "checkpoint  " in capsys.readouterr().out
        assert list(tmp_path.iterdir()) == []
        assert (result.best_checkpoint, result.last_checkpoint) == (None, None)

    def test_its_settings_are_checked_as_ever(self, line, batches, tmp_path):
        with pytest.raises(SettingError, match="mode='min' needs monitor"):
            rehearse(line(), batches, run_dir=tmp_path / "run", mode="min")
        with pytest.raises(SettingError, match="save_every=2 needs run_dir"):
            rehearse(line(), batches, save_every=2)


def test_mistakes_raise_as_in_a_run(line, batches, capsys):
    class Module(line):
        def training_step(self, batch):
            return super().training_step(batch) * float("nan")

    with pytest.raises(NonFiniteError, match="iteration 1"):
        rehearse(Module(), batches)
    assert capsys.readouterr().out == ""


def test_a_tensor_changed_in_place_is_found(line, batches):
    class Module(line):
        def training_step(self, batch):
            hidden = self(batch[0]).sigmoid()
            hidden += 1
            return F.mse_loss(hidden, batch[1])

    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        rehearse(Module(), batches)


def test_a_run_that_ends_before_its_time_says_so(line, batches, capsys):
    class Ends:
        def __init__(self, how):
            self.on_what = how

        def on_started(self, engine):
            getattr(engine, self.on_what)()

    result = rehearse(line(), batches, handlers=[Ends("terminate")])
    assert result.status == "stopped"
    assert result.reason == "dry_run: one batch of everything. It ended early: terminate() was called in iteration 0."
    result = rehearse(line(), batches, handlers=[Ends("interrupt")])
    assert (result.status, result.reason) == ("interrupted", "interrupt() was called in iteration 0.")
    assert capsys.readouterr().out == ""


def test_scalers_that_skip_are_no_mistake(line, batches, fp16, capsys):
    fp16.scaler = torch.amp.GradScaler("cpu", init_scale=1e38)
    result = rehearse(line(), batches, accelerator=fp16)
    assert result.state.optimizer_steps == {"main": 0}
    assert "amp (cpu) in fp16" in capsys.readouterr().out


def test_several_processes_tell_once(line, batches, capfd):
    settings = {"max_epochs": 2, "dry_run": True, "accelerator": "cpu"}
    results = on_ranks(2, lambda rank: line().fit(batches, batches, **settings).reason)
    assert results == ["dry_run: one batch of everything."] * 2
    assert capfd.readouterr().out.count("Dry run of Line on cpu") == 1
