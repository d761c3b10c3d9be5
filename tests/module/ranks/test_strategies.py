import pytest
import torch

from framework import DDP, FSDP, Plain, SettingError, TrainModule
from framework.distributed.group import joined
from framework.module.ranks.strategies import afterwards, group_of, joined_for, mesh_of, parallel, strategy_of
from framework.module.settings import FitSettings
from tests.distributed.ranks import on_ranks

CPU = torch.device("cpu")


def settings(**given):
    return FitSettings(**{**TrainModule.fit.__kwdefaults__, "max_epochs": 1, **given})


def test_a_strategy_is_named_or_given():
    assert strategy_of(settings()) is None
    assert strategy_of(settings(strategy="ddp")) == DDP()
    assert strategy_of(settings(strategy="fsdp")) == FSDP()
    assert strategy_of(settings(strategy=DDP(bucket_mib=5))) == DDP(bucket_mib=5)


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_a_strategy_for_several_processes_needs_torchrun(strategy):
    with (
        pytest.raises(SettingError, match=rf"strategy='{strategy}' trains with the processes that torchrun starts, .*--nproc"),
        joined_for(settings(strategy=strategy), CPU),
    ):
        pass


def test_one_process_has_its_own_backend():
    backend = Plain(CPU)
    with joined_for(settings(), CPU) as group:
        assert group is None
    assert parallel(None, backend, settings(), None) is backend is afterwards(backend)
    assert group_of(backend) is mesh_of(backend) is None


def choose(rank):
    with joined(CPU) as group:
        backend = Plain(CPU)
        ddp = parallel(torch.nn.Linear(1, 1), backend, settings(), group)
        assert group_of(ddp) is group
        assert afterwards(ddp) is backend
        assert mesh_of(ddp) is None
        with pytest.raises(SettingError, match="debug=True does not go with strategy='fsdp'"):
            parallel(torch.nn.Linear(1, 1), backend, settings(strategy="fsdp", debug=True), group)
        fsdp = parallel(torch.nn.Linear(1, 1), backend, settings(strategy="fsdp"), group)
        assert afterwards(fsdp) is fsdp
        return mesh_of(fsdp).size()


def test_several_processes_train_with_ddp_unless_fsdp_is_asked_for():
    assert on_ranks(2, choose) == [2, 2]
