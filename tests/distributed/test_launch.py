import pytest
import torch.distributed as dist

from framework import SettingError, rank, world_size
from framework.distributed.launch import Launch, find_launch

FOUND = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}


@pytest.fixture
def environment(monkeypatch):
    for name in FOUND:
        monkeypatch.delenv(name, raising=False)

    def put(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return put


def test_a_process_that_was_started_alone_is_none(environment):
    assert (find_launch(), rank(), world_size()) == (None, 0, 1)


def test_the_place_of_the_process_is_read(environment):
    environment(**FOUND)
    assert find_launch() == Launch(rank=3, world_size=4, local_rank=1)
    assert (rank(), world_size()) == (3, 4)


def test_slurm_without_torchrun_and_an_address_alone_are_no_launch(environment):
    environment(SLURM_NTASKS="4", SLURM_PROCID="1", MASTER_ADDR="localhost", MASTER_PORT="29500")
    assert find_launch() is None


@pytest.mark.parametrize("name", FOUND)
def test_what_is_missing_is_named(environment, name):
    environment(**{other: value for other, value in FOUND.items() if other != name})
    with pytest.raises(
        SettingError, match=rf"The environment says .*but lacks {name}\. Start the script with torchrun, which sets them"
    ):
        find_launch()


def test_an_empty_variable_is_missing(environment):
    environment(RANK="", WORLD_SIZE="2")
    with pytest.raises(SettingError, match="says WORLD_SIZE=2 but lacks RANK, LOCAL_RANK, MASTER_ADDR, MASTER_PORT"):
        find_launch()


@pytest.mark.parametrize("value", ["-1", "two", "1.0"])
def test_what_is_no_number_is_named(environment, value):
    environment(**FOUND | {"WORLD_SIZE": value})
    with pytest.raises(SettingError, match=f"WORLD_SIZE='{value}' in the environment is not a whole number from 0"):
        find_launch()


@pytest.mark.parametrize("contradiction", [{"RANK": "4"}, {"LOCAL_RANK": "4"}, {"WORLD_SIZE": "0"}])
def test_a_contradiction_is_shown_with_all_numbers(environment, contradiction):
    environment(**FOUND | contradiction)
    with pytest.raises(
        SettingError, match=r"contradicts itself: RANK=\d, WORLD_SIZE=\d, LOCAL_RANK=\d; a rank is below the world size"
    ):
        find_launch()


def test_the_group_that_the_script_has_initialised_counts_first(environment):
    environment(**FOUND)
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        assert (rank(), world_size()) == (0, 1)
    finally:
        dist.destroy_process_group()
