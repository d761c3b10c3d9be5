"""A rank that raises, dies or hangs ends the whole run, and the first error is shown once."""

import os
import resource
import signal
import threading
from pathlib import Path

import pytest
from torch.utils.data import DataLoader, Dataset

import framework.checkpoint.files as files
from framework.checkpoint import FolderLock
from framework.distributed.launch import find_launch
from tests.distributed.ranks import run_ranks
from tests.flows.several import Net, dataset, furthest, loader, made, seed_all, weights

DIED = "Rank {} has ended without a word: killed, out of memory, or its machine gone? The other ranks end too.\n"


def fail():
    raise ValueError("boom")


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def hang():
    threading.Event().wait()


class Failing(Net):
    """Does something at one place on one rank."""

    def __init__(self, place, act, rank):
        super().__init__()
        self.place, self.act, self.rank = place, act, rank

    def at(self, place):
        if place == self.place and find_launch().rank == self.rank:
            self.act()

    def configure_optimizers(self):
        self.at("optimizers")
        return super().configure_optimizers()

    def on_started(self):
        self.at("started")

    def training_step(self, batch, engine):
        if engine.state.iteration == 5:
            self.at("step")
        return super().training_step(batch)

    def on_iteration_completed(self, engine):
        if engine.state.iteration == 6:
            self.at("hook")

    def evaluation_step(self, batch):
        self.at("evaluation")
        return super().evaluation_step(batch)

    def on_completed(self):
        self.at("completed")


class Samples(Dataset):
    def __init__(self, module):
        self.module, self.samples = module, dataset()

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        if index == 50 and self.module.place == "data":
            self.module.act()  # on the one rank that has it
        return self.samples[index]


def train(rank, place, act, failing, settings):
    seed_all(0)
    module = Failing(place, act, failing)
    data = DataLoader(Samples(module), batch_size=8, shuffle=True)
    module.fit(data, loader(8, samples=41, seed=2), max_epochs=3, progress=False, seed=3, accelerator="cpu", **settings)
    return weights(module)


def ends(size, place, act, failing=1, agent=True, **settings):
    ended = run_ranks(size, train, place, act, failing, settings, agent=agent)
    assert all(each.returned is None for each in ended)
    return [each.code for each in ended], [each.stderr for each in ended]


@pytest.mark.parametrize(
    ("size", "failing", "agent", "places"),
    [
        (2, 1, True, ("optimizers", "started", "step", "hook", "data", "evaluation", "completed")),
        (4, 0, False, ("step", "evaluation")),
    ],
)
def test_an_error_of_one_rank_is_shown_once_and_ends_all(size, failing, agent, places):
    for place in places:
        codes, told = ends(size, place, fail, failing, agent)
        assert codes == [1] * size, place
        raised = [rank for rank, text in enumerate(told) if text]
        assert len(raised) == 1, told
        assert raised == [failing] or place == "data"
        (text,) = filter(None, told)
        assert text.count("Traceback (most recent call last)") == 1
        assert text.count("ValueError: boom\n") == 1
        assert place == "optimizers" or f"rank {raised[0]} of {size}" in text.splitlines()[-2]


def test_a_rank_that_dies_is_told_of_in_one_line():
    for place in ("started", "step", "evaluation"):
        codes, told = ends(2, place, die)
        assert codes == [1, -signal.SIGKILL], place
        assert told == [DIED.format(1), ""], place
    codes, told = ends(4, "step", die, failing=2)
    assert codes == [1, 1, -signal.SIGKILL, 1]
    assert sorted(told) == ["", "", "", DIED.format(2)]


@pytest.mark.fault(25)
def test_a_rank_that_hangs_ends_all_and_the_others_say_no_more_than_that_they_wait():
    for place, where in {"step": "in the step of iteration 5", "evaluation": "in the evaluation after iteration 7"}.items():
        codes, (waits, hangs) = ends(2, place, hang, hang_timeout_s=1.0)
        assert codes == [124, 124]
        # it is told to end, or its own patience is at its end at the same time
        assert waits == "" or (waits.startswith("Rank 0 waits for others in ") and len(waits.splitlines()) == 1), waits
        assert f"It hangs here: epoch 1, {where}" in hangs
        assert "in hang" in hangs


class OnRank0:
    """Limits the size of a file, as a full disk does, before the second checkpoint."""

    def on_iteration_completed(self, engine):
        if engine.state.iteration == 5:
            resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))


def fill_disk(rank, run_dir):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    train(rank, "nowhere", fail, 0, {"run_dir": run_dir, "handlers": [OnRank0()]})


@pytest.mark.fault(6)
def test_a_full_disk_ends_all_and_the_checkpoint_before_it_is_whole(tmp_path):
    first, second = run_ranks(2, fill_disk, tmp_path / "run")
    assert (first.code, second.code, second.stderr) == (1, 1, "")
    assert "CheckpointError: Saving step 7 as " in first.stderr
    assert "the disk is full" in first.stderr
    assert steps_in(tmp_path / "run") == ["step-00000000"]
    made().load_weights(tmp_path / "run")


def steps_in(run_dir):
    return [path.name for path in (run_dir / "checkpoints").iterdir() if path.name.startswith("step")]


def die_in_save(rank, run_dir, call):
    calls, sync = [], files.sync

    def dying(file):
        calls.append(file)
        if len(calls) == call:
            die()
        sync(file)

    if rank == 0:
        files.sync = dying
    train(rank, "nowhere", fail, 0, {"run_dir": run_dir})


@pytest.mark.fault(1)
def test_the_rank_that_writes_dies_in_a_save_and_the_run_goes_on_from_the_one_before(tmp_path):
    killed, other = run_ranks(2, die_in_save, tmp_path / "run", 16)  # in the second save
    assert (killed.code, other.code, other.stderr) == (-signal.SIGKILL, 1, DIED.format(0))
    assert steps_in(tmp_path / "run") == ["step-00000000"]
    again = run_ranks(2, train, "nowhere", fail, 0, {"run_dir": tmp_path / "run"})
    whole = run_ranks(2, train, "nowhere", fail, 0, {"run_dir": tmp_path / "whole"})
    assert [(each.code, each.stderr) for each in (*again, *whole)] == [(0, "")] * 4
    assert all(furthest(each.returned, whole[0].returned) == 0 for each in again)


def as_nobody(rank, run_dir):
    os.seteuid(65534)
    try:
        train(rank, "nowhere", fail, 0, {"run_dir": run_dir})
    finally:
        os.seteuid(0)


@pytest.mark.fault(7)
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="takes on another user, which only root may")
def test_a_folder_that_cannot_be_written_is_refused_once():
    closed = Path(f"/tmp/closed-to-several-{os.getpid()}")  # another user cannot even look into tmp_path
    closed.mkdir(mode=0o555)
    try:
        first, second = run_ranks(2, as_nobody, closed / "run")
    finally:
        closed.rmdir()
    assert (first.code, second.code, second.stderr) == (1, 1, "")
    assert "CheckpointError: " in first.stderr
    assert "Permission denied" in first.stderr


@pytest.mark.fault(31)
def test_a_folder_in_which_another_run_is_at_work_is_refused_once(tmp_path):
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    with FolderLock(run_dir):
        first, second = run_ranks(2, train, "nowhere", fail, 0, {"run_dir": run_dir})
    assert (first.code, second.code, second.stderr) == (1, 1, "")
    assert f"ResumeError: {run_dir} is in use by another run: process {os.getpid()} on " in first.stderr
