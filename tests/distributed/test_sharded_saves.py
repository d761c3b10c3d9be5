"""Several processes write one checkpoint, and one or all of them fail or die in it."""

import os
import resource
import signal

import pytest
import torch
import torch._dynamo  # DTensors import it, which takes seconds: once here, not in every process
import torch.distributed.checkpoint
from ranks import on_ranks, run_ranks
from torch.distributed.checkpoint.filesystem import FileSystem
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

from framework import CheckpointError
from framework.checkpoint import files
from framework.checkpoint.store import CheckpointStore
from framework.distributed.group import joined

ROWS = 5


def weights(step, size=3):
    """Returns the whole of what is saved at a step."""
    return {"w": torch.arange(ROWS * size, dtype=torch.float32).reshape(ROWS, size) + step, "b": torch.full((1,), float(step))}


def state(step, mesh, size=3):
    """Returns it split over the processes, beside what is whole."""
    split = {name: distribute_tensor(each, mesh, [Shard(0)], src_data_rank=None) for name, each in weights(step, size).items()}
    return {"model": {**split, "n": torch.tensor(step)}, "run": {"step": step}}


def is_of(checkpoint, step):
    read = checkpoint.read("model")
    whole = all(torch.equal(read[name], each) for name, each in weights(step).items())
    return checkpoint.step == step and whole and read["n"].item() == step and checkpoint.read("run") == {"step": step}


def save(rank, folder, steps, before=None, size=3):
    """Saves at each of these steps; `before` is called before the last one. Returns what each save returned or raised."""
    with joined(torch.device("cpu")) as group:
        mesh = init_device_mesh("cpu", (group.world_size,))
        store = CheckpointStore(folder, keep=2)
        if group.is_main:
            store.prepare()
        group.barrier("prepared")
        found = []
        for step in steps:
            if before is not None and step == steps[-1]:
                before(rank)
            try:
                found.append(store.save(step, state(step, mesh, size), best=step == 1, group=group).name)
            except CheckpointError as error:
                found.append(str(error))
        return found


def test_all_write_and_every_number_of_processes_reads(tmp_path):
    names = [f"step-{step:08d}" for step in (1, 2, 3)]
    assert on_ranks(4, save, tmp_path, [1, 2, 3]) == [names] * 4
    store = CheckpointStore(tmp_path)
    assert [path.name for path in store.checkpoints()] == names[::-1]  # the first one is the best one
    assert sum(path.name.startswith("shard-") for path in store.last().iterdir()) == 4
    assert is_of(store.newest(), 3)


def too_large_for(limited):
    def limit(rank):
        if rank == limited:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))

    return limit


def unwritable(rank):
    def refuse(source, target):
        raise OSError(30, "Read-only file system")

    files.rename = refuse


@pytest.mark.fault(6, 7)
def test_a_process_that_cannot_write_fails_all_and_nothing_stays(tmp_path):
    for folder, before, failing, own, others in (
        (tmp_path / "a", too_large_for(1), 1, "the disk is full, or a quota or limit of file sizes is reached", "OSError"),
        (tmp_path / "b", unwritable, 0, "Read-only file system", "OSError: "),
    ):
        found = on_ranks(2, save, folder, [1, 2], before, 10_000)
        assert found[0][0] == found[1][0] == "step-00000001"
        assert own in found[failing][1]
        assert found[1 - failing][1].startswith(f"Rank {failing} could not do its part of the checkpoint of step 2: ")
        assert others in found[1 - failing][1]
        assert sorted(path.name for path in folder.iterdir()) == ["best.json", "last.json", "step-00000001"]


def save_apart(rank, folder):
    return save(rank, folder / str(rank), [1])


def test_a_folder_that_is_not_shared_is_refused(tmp_path):
    for rank in range(2):
        (tmp_path / str(rank)).mkdir()
    found = on_ranks(2, save_apart, tmp_path)
    assert "was made by rank 0 and is not there for this process." in found[1][0]
    assert found[0][0].startswith("Rank 1 could not do its part of the checkpoint of step 1: sight of the folder")
    assert [list((tmp_path / str(rank)).iterdir()) for rank in range(2)] == [[], []]


def dying(victims, owner, name, number, when):
    """Returns what makes some ranks die before or after their call `number` of a function."""

    def install(rank):
        call, calls = getattr(owner, name), iter(range(10**6))

        def counted(*args):
            due = next(calls) == number
            if due and when == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            result = call(*args)
            if due:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        if rank in victims:
            setattr(owner, name, counted)

    return install


def died(folder, steps, victims, before):
    """Lets some ranks die in the last of these saves; returns the names of what they have left."""
    ended = run_ranks(2, save, folder, steps, before, stop_at_failure=True)
    assert all(ended[rank].code == -signal.SIGKILL for rank in victims)
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


@pytest.mark.fault(1)
def test_a_kill_in_a_save_leaves_the_checkpoint_before(tmp_path):
    strays = died(tmp_path, [1, 2], [0], dying([0], files, "rename", 0, "before"))
    assert len(strays) == 1
    store = CheckpointStore(tmp_path)
    assert is_of(store.newest(), 1)
    assert on_ranks(2, save, tmp_path, [3]) == [["step-00000003"]] * 2
    assert is_of(store.newest(), 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.json", "last.json", "step-00000001", "step-00000003"]


KILLS = [
    ([1], FileSystem, "create_stream", 0, "after", False),
    ([1], files, "sync", 0, "before", False),
    ([0], files, "make_folder", 0, "after", False),
    ([0], files, "sync", 1, "after", False),
    ([0], files, "sync_folder", 0, "before", False),
    ([0], files, "rename", 0, "after", True),
    ([0, 1], FileSystem, "create_stream", 0, "after", False),
    ([0, 1], files, "sync", 0, "after", False),
]


@pytest.mark.slow
@pytest.mark.fault(1)
def test_kills_at_other_points(tmp_path):
    store = CheckpointStore(tmp_path)
    for number, (victims, owner, name, call, when, written) in enumerate(KILLS):
        first = 10 * number + 1  # which is the next save after the kill before
        strays = died(tmp_path, [first, first + 1], victims, dying(victims, owner, name, call, when))
        assert is_of(store.newest(), first + written), KILLS[number]
        assert len(strays) == (0 in victims and not written), KILLS[number]  # rank 0 cleans up where it can, else the next one
