"""What becomes of a run folder when fit begins: every state it can be in, and every `resume`."""

import json
from contextlib import nullcontext

import pytest
import torch

import framework.module.fit as fit
from framework import CheckpointError, Events, ResumeError, TrainModule
from framework.module.resuming.past import open_past, tell
from framework.module.resuming.run_folder import RunFolder
from framework.module.settings import FitSettings

LIMITS = {"max_epochs": 3, "max_iters": None}


def settings(resume="auto", **limits):
    return FitSettings(**{**TrainModule.fit.__kwdefaults__, **LIMITS, "run_dir": "run", "resume": resume, **limits})


def save(folder, iteration, epoch, after=Events.EPOCH_COMPLETED, limits=LIMITS, **changes):
    """Writes a checkpoint with what fit writes into it, as far as it is looked at here."""
    progress = {"after": after and after.name, "iteration": iteration, "epoch": epoch}
    run = {"progress": progress, "random": {}, "seed": 7, "module": {}, "schedulers": [], "course": {}, "setup": {}, **changes}
    parts = {"model": {"weight": torch.tensor(iteration)}, "optimizer": {}, "handlers": {}, "run": run}
    folder.save(iteration, parts, best=False, facts={"class": "Net", "limits": limits})


def end(folder, status, iteration=6, epoch=3, reason="It ended."):
    metrics = {"train/loss": 0.5, "val/odd": float("nan")}
    folder.write_status(status=status, reason=reason, iteration=iteration, epoch=epoch, metrics=metrics)


@pytest.fixture
def folder(tmp_path):
    with RunFolder(tmp_path / "run", keep=None) as folder:
        yield folder


def nothing(folder):
    pass


def killed_early(folder):
    folder.write_status(status="running", reason="", iteration=0, epoch=0, metrics={})
    folder.curves.row({"epoch": 1})


def killed(folder):
    killed_early(folder)
    save(folder, 0, 0, after=None)
    save(folder, 4, 2)


def without_status(folder):
    save(folder, 4, 2)


def interrupted(folder):
    save(folder, 5, 3, after=Events.ITERATION_COMPLETED)
    end(folder, "interrupted", 5)


def completed(folder):
    save(folder, 4, 2)
    save(folder, 6, 3)
    folder.curves.points(6, 3, 1.0, {"train/loss": 0.5})
    folder.curves.row({"epoch": 3, "train/loss": 0.5})
    end(folder, "completed")


def stopped(folder):
    save(folder, 4, 2)
    end(folder, "stopped", 4, 2, reason="Solved.")


def lost(folder):
    folder.curves.row({"epoch": 3})
    end(folder, "completed")


TRAINED = "Nothing was trained"
NEVER = r"resume='never': .*run holds a run, which stays as it is. Give another run_dir, or resume='auto' to go on with it"
MUST = r"resume='must': there is no run with a checkpoint in .*run. Look at run_dir, or leave resume out to start one"
LOST = r"The run in .*run is over \(It ended.\), but its checkpoints are gone, so it cannot go on. Give another run_dir"


@pytest.mark.parametrize(
    ("state", "auto", "never", "must"),
    [
        (nothing, "starts", "starts", MUST),
        (killed_early, "starts", NEVER, MUST),
        (killed, 4, NEVER, 4),
        (without_status, 4, NEVER, 4),
        (interrupted, 5, NEVER, 5),
        (completed, "stored", NEVER, "stored"),
        (stopped, "stored", NEVER, "stored"),
        (lost, LOST, NEVER, LOST),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
@pytest.mark.parametrize("resume", ["auto", "never", "must"])
def test_each_state_and_each_resume(folder, state, auto, never, must, resume):
    state(folder)
    outcome = {"auto": auto, "never": never, "must": must}[resume]
    refused = isinstance(outcome, str) and outcome not in ("starts", "stored")
    told = pytest.warns(UserWarning, match=TRAINED) if outcome == "stored" else nullcontext()
    before = {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}
    with pytest.raises(ResumeError, match=outcome) if refused else told:
        past = open_past(folder, settings(resume))
    if outcome == "starts":
        assert past is None
        assert folder.curves.read() == ({}, [])  # what a killed process has written is begun anew
        return
    assert {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()} == before
    if outcome == "stored":
        assert past.result.status == state.__name__
    elif not refused:
        assert past.result is None
        assert past.checkpoint.step == past.parts["model"]["weight"] == outcome
        assert past.seed == 7


def test_what_a_run_goes_on_from(folder):
    interrupted(folder)
    past = open_past(folder, settings())
    assert (past.after, past.iteration) == (Events.ITERATION_COMPLETED, 5)
    assert set(past.parts) == {"model", "optimizer", "handlers", "run"}
    assert tell(past) == f"Going on from iteration 5 (epoch 3): {folder.path / 'checkpoints' / 'step-00000005'}"


def test_the_beginning_of_a_run_is_after_nothing(folder):
    save(folder, 0, 0, after=None)
    assert open_past(folder, settings()).after is None


def test_the_stored_result(folder):
    completed(folder)
    words = (
        r"Nothing was trained: the run in .*run is over \(It ended.\). Raise max_epochs or max_iters to train it further, or give"
    )
    with pytest.warns(UserWarning, match=words):
        result = open_past(folder, settings()).result
    assert (result.status, result.reason, result.state.iteration, result.state.epoch) == ("completed", "It ended.", 6, 3)
    assert result.metrics["train/loss"] == 0.5
    assert repr(result.metrics["val/odd"]) == "nan"
    assert result.state.metrics is not result.metrics
    assert result.history == [{"epoch": 3, "train/loss": 0.5}]
    assert result.series == {"train/loss": [(6, 0.5, 3, 1.0)]}
    assert result.series["train/loss"][0].value == 0.5
    assert (result.best_checkpoint, result.last_checkpoint) == (None, folder.store.last())


@pytest.mark.parametrize(
    ("limits", "goes_on"),
    [
        ({"max_epochs": 3}, False),
        ({"max_epochs": 2}, False),
        ({"max_epochs": 4}, True),
        ({"max_epochs": None, "max_iters": 6}, False),
        ({"max_epochs": None, "max_iters": 7}, True),
        ({"max_epochs": 4, "max_iters": 6}, False),
        ({"max_epochs": 3, "max_iters": 7}, False),
        ({"max_epochs": 4, "max_iters": 7}, True),
        ({"max_epochs": None, "max_time_s": 1.0}, True),
    ],
)
def test_a_completed_run_goes_on_where_every_limit_is_further_away(folder, limits, goes_on):
    completed(folder)
    with nullcontext() if goes_on else pytest.warns(UserWarning, match=TRAINED):
        past = open_past(folder, settings(**limits))
    assert (past.result is None) == goes_on


@pytest.mark.parametrize(("limits", "goes_on"), [({"max_epochs": 3}, False), ({"max_epochs": 2}, False), ({"max_epochs": 4}, True)])
def test_a_stopped_run_goes_on_only_with_other_limits(folder, limits, goes_on):
    stopped(folder)
    with nullcontext() if goes_on else pytest.warns(UserWarning, match=TRAINED):
        past = open_past(folder, settings(**limits))
    assert (past.result is None) == goes_on
    assert past.prolonged_by(settings(**limits)) == (limits != {"max_epochs": 3})


@pytest.mark.parametrize(("max_epochs", "goes_on"), [(2, False), (3, True)])
def test_an_epoch_that_a_run_ended_in_is_not_over(folder, max_epochs, goes_on):
    save(folder, 5, 3, after=Events.ITERATION_COMPLETED, limits={"max_epochs": None, "max_iters": 5})
    end(folder, "completed", 5)
    with nullcontext() if goes_on else pytest.warns(UserWarning, match=TRAINED):
        past = open_past(folder, settings(max_epochs=max_epochs))
    assert (past.result is None) == goes_on


@pytest.mark.fault(3)
def test_a_completed_run_whose_end_is_damaged_is_trained_to_its_end_again(folder):
    completed(folder)
    (folder.store.last() / "run.json").write_bytes(b"")
    with pytest.warns(UserWarning, match=r"step-00000006/run.json is damaged: .*step-00000004 is used instead"):
        past = open_past(folder, settings())
    assert past.checkpoint.step == 4
    assert past.result is None


@pytest.mark.fault(5)
def test_all_are_damaged(folder):
    killed(folder)
    for path in folder.store.checkpoints():
        (path / "manifest.json").write_bytes(bytes(10))
    with pytest.raises(CheckpointError, match=r"No checkpoint in .*checkpoints is whole"):
        open_past(folder, settings())


@pytest.mark.fault(36)
@pytest.mark.parametrize("resume", ["auto", "never", "must"])
def test_a_run_of_another_format_is_left_alone(folder, resume):
    killed(folder)
    (folder.path / "run.json").write_text(json.dumps({"format": 2}))
    with pytest.raises(ResumeError, match=r"run.json has format 2; this version reads 1"):
        open_past(folder, settings(resume))


@pytest.mark.fault(32)
@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"seed": "7"}, "run.seed"),
        ({"module": None}, "run.module"),
        ({"progress": {"after": "os.system"}}, "run.progress.after"),
        ({"progress": 3}, "run.progress"),
        ({"setup": []}, "run.setup"),
    ],
)
def test_a_checkpoint_that_fit_has_not_written(folder, changes, where):
    save(folder, 4, 2, **changes)
    words = rf"step-00000004 is no checkpoint that fit has written: it has no {where} as fit writes it. Give the run_dir of fit"
    with pytest.raises(CheckpointError, match=words):
        open_past(folder, settings())


@pytest.mark.parametrize(("facts", "where"), [(None, "facts.limits"), ({"limits": [3]}, "facts.limits")])
def test_facts_that_fit_has_not_written(folder, facts, where):
    save(folder, 4, 2)
    parts = {part: folder.store.newest().read(part) for part in folder.store.newest().parts}
    folder.save(5, parts, best=False, facts=facts)
    with pytest.raises(CheckpointError, match=f"step-00000005 is no checkpoint that fit has written: it has no {where}"):
        open_past(folder, settings())
    folder.save(6, {"model": {}}, best=False, facts={"limits": {}})
    with pytest.raises(CheckpointError, match="step-00000006 is no checkpoint that fit has written: it has no optimizer"):
        open_past(folder, settings())


# From another run


@pytest.fixture
def other(tmp_path):
    with RunFolder(tmp_path / "other", keep=None) as other:
        completed(other)
    return other


@pytest.mark.parametrize("as_text", [True, False])
def test_from_the_path_of_another_run(folder, other, as_text):
    past = open_past(folder, settings(str(other.path) if as_text else other.path))
    assert (past.checkpoint.step, past.result) == (6, None)
    assert folder.curves.read() == other.curves.read()


def test_from_a_checkpoint_of_another_run(folder, other):
    assert open_past(folder, settings(other.path / "checkpoints" / "step-00000004")).checkpoint.step == 4


def test_the_same_call_goes_on_with_what_it_began(folder, other):
    open_past(folder, settings(other.path))
    killed_early(folder)
    assert open_past(folder, settings(other.path)).checkpoint.step == 6  # of the other one still
    assert open_past(folder, settings()).checkpoint.path.parent == other.path / "checkpoints"
    save(folder, 8, 4)
    for resume in (other.path, "auto", "must"):
        past = open_past(folder, settings(resume, max_epochs=9))
        assert past.checkpoint.path == folder.path / "checkpoints" / "step-00000008"


def test_a_folder_with_a_run_of_its_own_is_not_mixed_with_another(folder, other):
    killed(folder)
    with pytest.raises(ResumeError, match=r"resume='.*other': .*run holds a run already, which stays as it is"):
        open_past(folder, settings(other.path))


def test_a_path_that_is_no_run(folder, tmp_path):
    with pytest.raises(CheckpointError, match="is neither a run, nor a checkpoint"):
        open_past(folder, settings(tmp_path / "missing"))


# What fit makes of it


def test_a_module_that_is_not_trained_again_has_its_weights(line, batches, tmp_path, assert_same_weights):
    class Noted(line):
        def __init__(self):
            super().__init__()
            torch.nn.init.zeros_(self.layer.weight)
            self.register_buffer("seen", torch.zeros(1), persistent=False)

        def on_iteration_completed(self):
            self.seen += 1

    trained, again = Noted(), Noted()
    trained.fit(batches, max_epochs=1, run_dir=tmp_path, progress=False)
    with pytest.warns(UserWarning, match=TRAINED) as told:
        again.fit(batches, max_epochs=1, run_dir=tmp_path, progress=False)
    assert told[0].filename == __file__
    assert_same_weights(again, trained)
    assert torch.equal(again.seen, torch.tensor([6.0]))


def test_a_completed_run_of_another_module_is_refused(line, batches, tmp_path):
    class Wider(line):
        def __init__(self):
            super().__init__()
            self.more = torch.nn.Parameter(torch.zeros(1))

    line().fit(batches, max_epochs=1, run_dir=tmp_path, progress=False)
    words = r"step-00000006 cannot go on, since this differs:\n  class: 'Line' in the run, 'Wider' now\n  model: more .* is new"
    with pytest.raises(ResumeError, match=words):
        Wider().fit(batches, max_epochs=1, run_dir=tmp_path, progress=False)


def test_a_completed_run_is_not_the_result_of_one_that_was_set_up_otherwise(line, batches, tmp_path):
    class Rated(line):
        def __init__(self, rate=0.1):
            super().__init__()

    Rated().fit(batches, max_epochs=1, run_dir=tmp_path, progress=False, seed=1)
    for rate, settings, words in [
        (0.2, {}, r"arguments: rate was 0.1, is 0.2"),
        (0.1, {"clip_norm": 1.0}, r"clip_norm: None in the run, 1.0 now"),
        (0.1, {"seed": 2}, r"seed=2 differs from the seed 1"),
    ]:
        with pytest.raises(ResumeError, match=words):
            Rated(rate).fit(batches, max_epochs=1, run_dir=tmp_path, progress=False, **settings)
    with pytest.warns(UserWarning, match=TRAINED):
        Rated(0.2).fit(batches, max_epochs=1, run_dir=tmp_path, progress=False, allow_changes=("arguments", "samples"))


def test_a_run_that_goes_on_holds_no_second_copy_of_its_state(tmp_path, line, batches, monkeypatch):
    taken, real = [], fit.open_past
    monkeypatch.setattr(fit, "open_past", lambda *given: taken.append(real(*given)) or taken[-1])
    seen = []

    class Look:
        def on_iteration_completed(self, engine):
            seen.append(taken[-1] and dict(taken[-1].parts))
            if engine.state.iteration == 2:
                engine.interrupt()

    common = {"max_epochs": 1, "run_dir": tmp_path, "progress": False, "handlers": [Look()]}
    line().fit(batches, **common)
    line().fit(batches, **common)
    assert seen[:2] == [None, None]
    assert seen[2:] == [{}] * (len(batches) - 2)
