"""When a checkpoint is written, which is the best, and what of a run's end is kept."""

from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch

from framework import Events, SettingError, TrainModule
from framework.checkpoint import CheckpointStore, open_checkpoint
from framework.engine import Engine
from framework.module.adapter import Parts
from framework.module.resuming import saver as saver_file
from framework.module.resuming.saver import Saver
from framework.module.settings import FitSettings
from framework.module.window import EpochWindow


class Run:
    """Stands for the run; notes when it is asked to look at the losses."""

    def __init__(self, notes):
        self.parts = Parts(None, None, [])
        self.summarised_at = self.epoch_start = 0
        self.dropped, self.evaluations = False, ()
        self._notes = notes

    def check_values(self, engine):
        self._notes.append("losses checked")


class Snapshots:
    def __init__(self, notes):
        self._notes = notes

    def take(self, engine, after, *, repeat_event=False):
        progress = {"after": after and after.name, "repeat_event": repeat_event, "iteration": engine.state.iteration}
        return {"run": {"progress": progress, "weights": torch.tensor(engine.state.iteration)}}

    def set_apart(self, parts):
        self._notes.append("set apart")

    def refuse_non_finite(self, iteration):
        self._notes.append("weights checked")

    def restore(self, engine, parts):
        self._notes.append("restored")


class Folder:
    def __init__(self, notes):
        self.saved, self._notes = [], notes

    def save(self, step, parts, *, best, facts):
        self._notes.append("saved")
        self.saved.append(SimpleNamespace(step=step, run=parts["run"], best=best, facts=facts))


class Setting:
    """A saver among stand-ins, and an engine whose state is set by hand."""

    def __init__(self, **given):
        self.notes = []
        self.run, self.folder = Run(self.notes), Folder(self.notes)
        self.settings = FitSettings(**{**TrainModule.fit.__kwdefaults__, "max_epochs": 1, "run_dir": "run", **given})
        self.saver = Saver(self.folder, Snapshots(self.notes), self.run, self.settings, {"class": "Net"}, {"nan": "stop"})
        self.engine = Engine(lambda engine, batch: None)
        self.engine.state.directions = {}

    def at(self, iteration, epoch=1, paused_after=None):
        self.engine.state.iteration, self.engine.state.epoch = iteration, epoch
        self.engine._position = SimpleNamespace(after=paused_after)
        return self.engine

    def evaluated(self, value, name="val/loss"):
        self.engine.state.metrics[name] = value
        self.saver.note_evaluation(self.engine)
        return self.saver.is_due()


def test_a_checkpoint_is_due_when_it_was_asked_for():
    setting = Setting()
    assert not setting.saver.is_due()
    setting.saver.mark_due()
    assert setting.saver.is_due()
    setting.saver.save(setting.at(3, epoch=2), Events.ITERATION_COMPLETED)
    assert not setting.saver.is_due()
    saved = setting.folder.saved[0]
    assert (saved.step, saved.best, saved.facts) == (3, False, {"class": "Net", "epoch": 2})
    assert saved.run["progress"] == {"after": "ITERATION_COMPLETED", "repeat_event": False, "iteration": 3}
    assert (saved.run["best"], saved.run["monitor"], saved.run["setup"]) == (None, None, {"nan": "stop"})


@pytest.mark.fault(21)
@pytest.mark.parametrize(("nan", "notes"), [("stop", ["losses checked", "weights checked", "saved"]), ("ignore", [])])
def test_nothing_is_written_before_it_was_looked_at(nan, notes):
    setting = Setting(nan=nan)
    setting.saver.save(setting.at(1), Events.EPOCH_COMPLETED)
    assert setting.notes == (notes or ["losses checked", "saved"])


def test_a_checkpoint_is_due_after_some_seconds(monkeypatch):
    clock = [10.0]
    monkeypatch.setattr(saver_file, "perf_counter", lambda: clock[0])
    setting = Setting(save_every_s=5.0)
    seen = []
    for now in (10, 14, 15, 19, 21, 26):
        clock[0] = now
        seen.append(setting.saver.is_due())
        if seen[-1]:
            setting.saver.save(setting.at(now), Events.ITERATION_COMPLETED)
    assert seen == [False, False, True, False, True, True]


def test_what_surrounds_a_write():
    setting = Setting()

    @contextmanager
    def around():
        setting.notes.append("begin")
        yield
        setting.notes.append("end")

    setting.saver.around = around
    setting.saver.save(setting.at(1), Events.EPOCH_COMPLETED)
    assert setting.notes[-3:] == ["begin", "saved", "end"]


NAN = float("nan")


@pytest.mark.parametrize(
    ("given", "values", "better"),
    [
        ({"monitor": "val/loss"}, [3, 4, 2, 2, 1], [True, False, True, False, True]),
        ({"monitor": "val/loss", "mode": "max"}, [3, 4, 2, 5], [True, True, False, True]),
        ({"monitor": "val/loss"}, [NAN, 3, NAN, 4, 2], [False, True, False, False, True]),
        ({"monitor": "val/loss"}, [float("inf"), 3, float("-inf")], [True, True, True]),
        ({"monitor": "val/loss"}, [torch.tensor(3.0), torch.tensor([2.0])], [True, True]),
        ({}, [3, 2, 1], [False, False, False]),
    ],
)
def test_an_evaluation_that_is_the_best_so_far_is_saved(given, values, better):
    setting = Setting(**given)
    for iteration, value in enumerate(values):
        if setting.evaluated(value):
            setting.saver.save(setting.at(iteration), Events.EPOCH_COMPLETED)
    assert [saved.step for saved in setting.folder.saved] == [number for number, is_better in enumerate(better) if is_better]
    assert all(saved.best for saved in setting.folder.saved)


def test_only_the_next_checkpoint_is_the_best():
    setting = Setting(monitor="val/loss")
    setting.evaluated(1.0)
    for iteration in (1, 2):
        setting.saver.save(setting.at(iteration), Events.EPOCH_COMPLETED)
    assert [(saved.best, saved.run["best"]) for saved in setting.folder.saved] == [(True, 1.0), (False, 1.0)]


def test_the_metric_says_which_way_is_better():
    setting = Setting(monitor="val/accuracy")
    setting.engine.state.directions = {"val/accuracy": True}
    assert setting.evaluated(0.5, "val/accuracy")
    setting.saver.save(setting.at(1), Events.EPOCH_COMPLETED)
    assert not setting.evaluated(0.4, "val/accuracy")


def test_a_metric_that_cannot_be_monitored():
    with pytest.raises(SettingError, match=r"monitor='val/acc': the evaluation gives no such metric. There are 'val/loss'"):
        Setting(monitor="val/acc").evaluated(0.5)
    with pytest.raises(SettingError, match=r"monitor='val/odd': whether a lower or a higher value is better cannot be told"):
        Setting(monitor="val/odd").evaluated(0.5, "val/odd")


@pytest.mark.parametrize(("monitor", "due"), [("val/loss", False), ("val/other_loss", True)])
def test_the_best_value_so_far_is_taken_up_with_its_monitor(monitor, due):
    first = Setting(monitor="val/loss")
    first.evaluated(1.0)
    first.saver.save(first.at(1), Events.EPOCH_COMPLETED)
    second = Setting(monitor=monitor)
    second.saver.restore(second.engine, {"run": first.folder.saved[0].run})
    assert second.notes == ["restored"]
    assert second.evaluated(2.0, monitor) == due


@pytest.mark.parametrize(
    ("event", "terminating", "progress"),
    [
        (Events.STARTED, False, (None, False)),
        (Events.ITERATION_COMPLETED, False, ("ITERATION_COMPLETED", True)),
        (Events.EPOCH_COMPLETED, False, ("ITERATION_COMPLETED", False)),
        (Events.EPOCH_COMPLETED, True, ("TERMINATE_SINGLE_EPOCH", False)),
    ],
)
def test_an_evaluation_that_was_given_up_is_undone(event, terminating, progress):
    setting = Setting()
    setting.engine.should_terminate_single_epoch = terminating
    setting.saver.remember(setting.at(4), event)
    setting.run.dropped = True
    setting.saver.save_interrupted(setting.at(4, paused_after=Events.EPOCH_COMPLETED))
    found = setting.folder.saved[0].run["progress"]
    assert (found["after"], found["repeat_event"]) == progress


@pytest.mark.parametrize("evaluates", [False, True])
def test_what_is_remembered_is_set_apart_from_what_an_evaluation_changes(evaluates):
    setting = Setting()
    setting.run.evaluations = ("an evaluation",) * evaluates
    for event in (Events.STARTED, Events.ITERATION_COMPLETED, Events.EPOCH_COMPLETED):
        setting.saver.remember(setting.at(4), event)
    setting.saver.remember_end(setting.at(4))
    assert setting.notes == ["set apart"] * 4 * evaluates


def test_an_interruption_saves_where_the_run_is():
    setting = Setting()
    setting.saver.remember(setting.at(3), Events.EPOCH_COMPLETED)
    setting.saver.save_interrupted(setting.at(5, paused_after=Events.GET_BATCH_STARTED))
    assert setting.folder.saved[0].run["progress"] == {"after": "GET_BATCH_STARTED", "repeat_event": False, "iteration": 5}
    assert setting.notes == ["losses checked", "weights checked", "saved"]


def test_an_interruption_right_after_a_save_writes_nothing_again():
    setting = Setting()
    setting.saver.save(setting.at(5), Events.ITERATION_COMPLETED)
    setting.saver.save_interrupted(setting.at(5, paused_after=Events.ITERATION_COMPLETED))
    assert len(setting.folder.saved) == 1
    setting.saver.save_interrupted(setting.at(5, paused_after=Events.GET_BATCH_STARTED))
    assert len(setting.folder.saved) == 2


@pytest.mark.parametrize("after", [Events.GET_BATCH_COMPLETED, Events.ITERATION_STARTED])
def test_between_fetch_and_step_nothing_can_be_saved(after):
    setting = Setting()
    setting.saver.save_interrupted(setting.at(5, paused_after=after))
    assert setting.folder.saved == []


def test_nor_while_a_window_is_open():
    setting = Setting()
    window = EpochWindow(2)
    setting.run.parts = setting.run.parts._replace(window=window)
    window()
    setting.saver.save_interrupted(setting.at(5, paused_after=Events.GET_BATCH_STARTED))
    assert setting.folder.saved == []
    window()
    setting.saver.save_interrupted(setting.at(6, paused_after=Events.GET_BATCH_STARTED))
    assert len(setting.folder.saved) == 1


@pytest.mark.parametrize(
    ("epoch", "summarised_at", "epoch_start", "after"),
    [(2, 6, 3, "EPOCH_COMPLETED"), (2, 3, 3, "ITERATION_COMPLETED"), (3, 6, 6, "EPOCH_STARTED"), (0, 0, 0, "ITERATION_COMPLETED")],
    ids=["with an epoch", "inside an epoch", "at an epoch's start", "before any epoch"],
)
def test_the_end_is_saved_as_it_was_before_its_handlers(epoch, summarised_at, epoch_start, after):
    setting = Setting()
    setting.run.summarised_at, setting.run.epoch_start = summarised_at, epoch_start
    setting.saver.remember_end(setting.at(6 if epoch else 1, epoch))
    setting.saver.save_end(setting.engine)
    assert [saved.run["progress"]["after"] for saved in setting.folder.saved] == [after]


@pytest.mark.parametrize(("value", "after", "saved"), [(1.0, None, 1), (1.0, Events.STARTED, 0), (NAN, None, 0)])
def test_the_start_is_saved_where_it_is_the_best(value, after, saved):
    setting = Setting(monitor="val/loss")
    setting.evaluated(value)
    setting.saver.save_start(setting.at(0, epoch=0, paused_after=after))
    assert len(setting.folder.saved) == saved
    assert all(found.best and found.run["progress"]["after"] == "STARTED" for found in setting.folder.saved)


@pytest.mark.parametrize("improved", [False, True])
def test_the_end_is_not_written_twice_unless_it_turns_out_the_best(improved):
    setting = Setting(monitor="val/loss")
    setting.run.summarised_at = 6
    setting.saver.save(setting.at(6), Events.EPOCH_COMPLETED)
    setting.saver.remember_end(setting.engine)
    if improved:
        setting.evaluated(1.0)
    setting.saver.save_end(setting.engine)
    assert [saved.best for saved in setting.folder.saved] == [False, True][: 1 + improved]


@pytest.mark.parametrize(("asked", "saved"), [(True, 0), ("skip_completed", 1)])
def test_an_end_without_completed_is_saved_at_terminate(asked, saved):
    setting = Setting()
    setting.engine.should_terminate = asked
    setting.saver.save_terminated(setting.at(4))
    assert len(setting.folder.saved) == saved


# Whole runs


def steps(run_dir):
    """The checkpoints of a run, oldest first, and whether each was the best."""
    paths = reversed(CheckpointStore(run_dir / "checkpoints").checkpoints())
    return [(path.name, open_checkpoint(path).best) for path in paths]


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({"max_epochs": 3}, [0, 6, 12, 18]),
        ({"max_epochs": 3, "save_every": 2}, [0, 12, 18]),
        ({"max_iters": 8}, [0, 6, 8]),
        ({"max_iters": 8, "save_every": Events.ITERATION_COMPLETED(every=4)}, [0, 4, 8]),
        ({"max_iters": 8, "save_every": Events.ITERATION_COMPLETED(every=3)}, [0, 3, 6, 8]),
        ({"max_epochs": 2, "accumulate": 4, "save_every": Events.ITERATION_COMPLETED(every=5)}, [0, 6, 10, 12]),
        ({"max_epochs": 1, "save_every": "STARTED"}, [0, 1, 6]),
        ({"max_epochs": 1, "save_every": 9, "save_every_s": 1e-9}, [0, 1, 2, 3, 4, 5, 6]),
        ({"max_epochs": 1, "save_every": 9, "save_every_s": 1e9}, [0, 6]),
    ],
)
def test_which_checkpoints_a_run_writes(line, batches, tmp_path, given, names):
    line().fit(batches, run_dir=tmp_path, keep=None, progress=False, **given)
    found = [name for name, _ in steps(tmp_path)]
    expected = [f"step-{number:08d}" for number in names]
    assert [name for name in found if "." not in name] == expected
    ends_twice = given.get("save_every_s") == 1e-9  # after the last iteration, and after its epoch
    assert len(found) == len(expected) + ends_twice


@pytest.mark.parametrize(
    ("validate_every", "given", "best"),
    [
        (1, {"max_epochs": 4}, "step-00000012"),
        (Events.COMPLETED, {"max_epochs": 2}, "step-00000012.1"),
        (1, {"max_iters": 4, "save_every": Events.ITERATION_COMPLETED(every=4)}, "step-00000004.1"),
        (Events.ITERATION_COMPLETED(every=5), {"max_iters": 11}, "step-00000010"),
        (Events.STARTED, {"max_epochs": 1}, "step-00000000.1"),
    ],
    ids=["epochs", "COMPLETED", "the rest of an epoch", "iterations", "STARTED"],
)
def test_the_best_checkpoint_is_that_of_the_best_evaluation(line, batches, tmp_path, validate_every, given, best):
    losses = iter([3.0, 1.0, 2.0, NAN])

    class Mine(line):
        def evaluation_step(self, batch):
            return {"loss": next(losses)}

    given = {"validate_every": validate_every, "monitor": "val/loss", "run_dir": tmp_path, "keep": 1, **given}
    weights = []

    class Module(Mine):
        def on_evaluated(self):
            weights.append(self.layer.weight.detach().clone())

    module = Module()
    result = module.fit(batches, batches[:1], progress=False, **given)
    module.load_weights(tmp_path)
    assert torch.equal(module.layer.weight, weights[1 if len(weights) > 1 else 0])
    assert result.best_checkpoint.name == best
    assert [name for name, is_best in steps(tmp_path) if is_best] == [best]
    assert len(steps(tmp_path)) == len({result.best_checkpoint, result.last_checkpoint})


@pytest.mark.fault(19)
def test_a_run_goes_on_from_a_start_that_was_the_best(line, batches, tmp_path, assert_same_weights):
    class Dies:
        def on_iteration_started(self):
            raise RuntimeError("dies")

    given = {"max_epochs": 2, "validate_every": Events.STARTED | Events.EPOCH_COMPLETED, "monitor": "val/loss", "progress": False}
    whole = line()
    expected = whole.fit(batches, batches[:1], run_dir=tmp_path / "whole", **given)
    with pytest.raises(RuntimeError, match="dies"):
        line().fit(batches, batches[:1], run_dir=tmp_path / "run", handlers=[Dies()], **given)
    assert steps(tmp_path / "run") == [("step-00000000", False), ("step-00000000.1", True)]
    module = line()
    result = module.fit(batches, batches[:1], run_dir=tmp_path / "run", **given)
    assert_same_weights(module, whole)
    assert [{**row, "time_s": 0} for row in result.history] == [{**row, "time_s": 0} for row in expected.history]
    assert result.best_checkpoint.name == expected.best_checkpoint.name
