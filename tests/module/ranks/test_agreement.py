from types import SimpleNamespace

import pytest
import torch

from framework.distributed.group import joined
from framework.engine.engine import Engine
from framework.errors import RankError
from framework.module.ranks.agreement import Agreement
from tests.distributed.ranks import on_ranks


def end(rank, lr, factor, ends):
    module = torch.nn.Linear(2, 2, bias=False)
    torch.nn.init.constant_(module.weight, factor[rank])
    engine = Engine(lambda engine, batch: None)
    engine.state.epoch = 3
    engine.state.optimizers = {"main": SimpleNamespace(param_groups=[{"lr": lr[rank]}])}
    engine.state.optimizer_steps = {"main": 5}
    if ends[rank]:
        engine.terminate(reason="solved")
    with joined(torch.device("cpu")) as group:
        try:
            Agreement(group, module).end_epoch(engine)
        except RankError as error:
            return str(error)
    return engine.terminate_reason


@pytest.mark.parametrize(
    ("lr", "factor", "ends", "told"),
    [
        ([0.1, 0.1], [1.0, 1.0], [False, False], None),
        ([0.1, 0.1], [1.0, 1.0], [False, True], "solved"),
        ([0.1, 0.1], [float("inf"), float("inf")], [False, False], None),
        (
            [0.1, 0.2],
            [1.0, 1.0],
            [False, False],
            "At the end of epoch 3 rank 1 has another value of the learning rate of 'main' in group 0 than rank 0: 0.2 there, 0.1 "
            "on rank 0. A handler that changes the training has to run on every rank: give its class all_ranks = True.",
        ),
        (
            [0.1, 0.1],
            [1.0, 2.0],
            [False, False],
            "At the end of epoch 3 the weights of rank 1 are not those of rank 0: their norm is 4 there, 2 on rank 0. Something "
            "has changed the weights, or the gradients, on some ranks only: a hook that asks for the rank, or a handler without "
            "all_ranks = True.",
        ),
    ],
    ids=["alike", "one ends", "infinite", "learning rate", "weights"],
)
def test_the_end_of_an_epoch_is_compared(lr, factor, ends, told):
    assert on_ranks(2, end, lr, factor, ends) == [told, told]


def give(rank):
    from tests.flows.several import loader, made

    made().fit(loader(8), max_epochs=1 + rank, progress=False, accelerator="cpu")


def test_other_settings_are_refused():
    with pytest.raises(AssertionError, match=r"Rank 1 was given another max_epochs than rank 0: 2 there, 1 on rank 0\. All"):
        on_ranks(2, give)


def make(rank):
    from tests.flows.several import loader, made

    made(dropout=0.1 * rank).fit(loader(8), max_epochs=1, progress=False, accelerator="cpu")


def test_a_module_made_otherwise_is_refused():
    with pytest.raises(AssertionError, match="Rank 1 was given another arguments than rank 0"):
        on_ranks(2, make)
