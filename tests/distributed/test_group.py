import threading

import pytest
import torch
import torch.distributed as dist
from ranks import on_ranks, run_ranks

from framework import AcceleratorError, SettingError
from framework.distributed import group as group_file
from framework.distributed.group import joined

CPU = torch.device("cpu")


def together(rank):
    with joined(CPU) as group:
        facts = [group.rank == rank, group.world_size, group.local_rank == rank, group.is_main == (rank == 0)]
        with joined(CPU) as inner, joined(CPU, alone=True) as again:
            assert inner is again is group
        total = torch.tensor([rank + 1.0])
        dist.all_reduce(total)
        group.iteration = 3
        where = group.where()
        group.barrier("x")
    return facts, total.item(), where, group.where().made - where.made, dist.is_initialized()


def test_the_processes_of_a_launch_join_work_together_and_leave():
    def twice(rank):
        return together(rank), together(rank)

    once = ([True, 3, True, True], 6.0, (3, 0, None), 2, False)  # the last exchange is that at the end
    assert on_ranks(3, twice) == [(once, once)] * 3


def test_a_store_that_rank_0_keeps_is_there_until_the_last_has_left():
    ended = run_ranks(3, lambda rank: [together(rank)[1] for _ in range(3)], agent=False)
    assert [(each.code, each.returned, each.stderr) for each in ended] == [(0, [6.0] * 3, "")] * 3


def test_a_group_of_the_script_is_used_and_left_as_it_is():
    def runs(rank):
        dist.init_process_group("gloo")
        theirs = dist.group.WORLD
        sums = []
        for _ in range(2):
            with joined(CPU) as group:
                sums.append(group.sums("x", [rank]))
        assert dist.group.WORLD is theirs
        total = torch.ones(1)
        dist.all_reduce(total)
        dist.destroy_process_group()
        return sums, total.item()

    assert on_ranks(2, runs) == [([[1.0]] * 2, 2.0)] * 2


def test_a_process_alone_has_no_group_unless_it_asks_for_one():
    before = threading.active_count()
    with joined(CPU) as group, joined(CPU) as inner:
        assert group is None
        assert inner is None
        with joined(CPU, alone=True) as asked:
            assert (asked.rank, asked.world_size, asked.local_rank) == (0, 1, 0)
            assert asked.exchange("x", "mine") == ["mine"]
            assert asked.from_main("x", "y" * 1000) == "y" * 1000
            assert asked.sums("x", [1, 2.5]) == [1.0, 2.5]
            assert dist.get_world_size() == 1
    assert not dist.is_initialized()
    assert threading.active_count() == before


def test_a_rank_tells_at_its_end_that_it_comes_no_more_though_its_process_was_forked_from_one_that_had_been_alone():
    def once_more_on_rank_0(rank):
        together(rank)
        if rank == 0:
            together(rank)

    with joined(CPU, alone=True):
        pass
    first, second = run_ranks(2, once_more_on_rank_0)
    assert "RankError: This rank waits for others, and rank 1 has ended." in first.stderr
    assert (first.code, second.code, second.stderr) == (1, 0, "")


def test_torchs_group_stays_where_something_needs_it_and_the_next_run_uses_it(monkeypatch):
    registered = []
    monkeypatch.setattr(group_file.atexit, "register", registered.append)
    with joined(CPU, alone=True) as group:
        group.stays = True
    kept = dist.group.WORLD
    with joined(CPU, alone=True):
        assert dist.group.WORLD is kept
    with pytest.raises(ValueError, match="a step"), joined(CPU, alone=True):
        raise ValueError("a step")
    with joined(CPU, alone=True) as group:
        assert dist.group.WORLD is not kept
        group.stays = True
    assert len(registered) == 2
    registered[0]()
    assert not dist.is_initialized()
    registered[0]()  # the script may have ended it first
    group_file._kept.clear()


def test_one_process_under_torchrun_is_alone(monkeypatch):
    for name, value in {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "MASTER_ADDR": "nowhere", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    with joined(torch.device("meta")) as group:
        assert group is None


def test_ranks_that_catch_an_error_inside_or_after_may_join_again():
    def runs(rank):
        with pytest.raises(ValueError, match=f"of rank {rank}"), joined(CPU):
            raise ValueError(f"of rank {rank}")
        assert dist.is_initialized()  # alone it cannot be ended
        return together(rank)[1]

    assert on_ranks(2, runs) == [3.0] * 2


@pytest.fixture
def launched(monkeypatch):
    for name, value in {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "3", "MASTER_ADDR": "nowhere", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("launched")
def test_a_device_without_a_way_between_processes_is_refused():
    with pytest.raises(AcceleratorError, match=r"cannot work together on 'mps'.*On cpu, cuda and xla they can: fit\(accelerator="):
        joined(torch.device("mps")).__enter__()


@pytest.mark.usefixtures("launched")
def test_more_processes_than_gpus_are_refused_with_both_numbers(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(AcceleratorError, match=r"LOCAL_RANK=3 has no GPU: this machine has 2\. .* torchrun --nproc-per-node 2"):
        joined(torch.device("cuda")).__enter__()


@pytest.mark.usefixtures("launched")
def test_an_environment_in_pieces_is_refused(monkeypatch):
    monkeypatch.delenv("MASTER_ADDR")
    with pytest.raises(SettingError, match="lacks MASTER_ADDR"):
        joined(CPU).__enter__()


@pytest.mark.parametrize(("kind", "backend"), [("cpu", "gloo"), ("cuda", "cpu:gloo,cuda:nccl"), ("xla", "xla")])
def test_the_backend_of_a_device(monkeypatch, kind, backend):
    chosen, imported = [], []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(group_file, "import_module", imported.append)
    launch = group_file.Launch(rank=3, world_size=4, local_rank=1)
    assert group_file._backend_for(torch.device(kind), launch) == backend
    assert chosen == ([1] if kind == "cuda" else [])
    assert imported == (["torch_xla.distributed.xla_backend"] if kind == "xla" else [])
