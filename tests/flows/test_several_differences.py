"""Ranks that do not do the same are told so by an error that names the rank and what it is about, and none waits for ever."""

import pytest
import torch

import framework.distributed.lookout as lookout
from framework import rank
from tests.distributed.ranks import run_ranks
from tests.flows.several import Net, dataset, loader, made

FIT = {"max_epochs": 2, "progress": False, "seed": 3, "accelerator": "cpu"}
CASES = {}


def case(told):
    """Notes what all are told where the ranks do this."""

    def note(function):
        CASES[function.__name__] = function, told
        return function

    return note


class Hooked(Net):
    """Has a hook at the end of an epoch."""

    def __init__(self, hook=None):
        super().__init__()
        self.hook = hook

    def on_epoch_completed(self, engine):
        if self.hook is not None:
            self.hook(self, engine)


def held_out(samples=41):
    return loader(8, samples=samples, seed=2)


def own_batches(count):
    return lambda: iter([dataset(8).tensors] * count)


class Logs(Hooked):
    def training_step(self, batch):
        self.log(f"of_{rank()}", 1.0)
        return super().training_step(batch)


@case("rank 0 has not recorded train/of_1; rank 1 has not recorded train/of_0. Record the same names")
def other_keys_in_a_step(rank):
    Logs().fit(loader(8), **FIT)


class LogsInEvaluation(Hooked):
    def evaluation_step(self, batch):
        if rank() == 1:
            self.log("spike", 1.0)
        return super().evaluation_step(batch)


@case("rank 0 has not recorded val/spike")
def other_keys_in_an_evaluation(rank):
    LogsInEvaluation().fit(loader(8), held_out(), **FIT)


@case('rank 0 is at "seed (of rank 0)"')
def an_evaluation_on_one_rank(rank):
    Hooked(lambda module, engine: module.evaluate(held_out()) if rank == 0 else None).fit(loader(8), **FIT)


@case("This rank waits for others, and rank 1 has ended. fit, evaluate and predict work together: call them on all ranks")
def an_evaluation_after_fit_on_one_rank(rank):
    module = made()
    module.fit(loader(8), **FIT)
    if rank == 0:
        module.evaluate(held_out())


@case("train_data differs between the ranks: rank 1 has 102 samples, rank 0 has 103")
def data_of_other_length(rank):
    made().fit(loader(8, samples=103 - rank), **FIT)


@case("val/small differs between the ranks: rank 1 has 40 samples, rank 0 has 41")
def held_out_data_of_other_length(rank):
    made().fit(loader(8), {"small": held_out(41 - rank)}, **FIT)


@case("rank 1 is in iteration 6 and never comes there: its data has more batches")
def data_that_end_earlier_on_one_rank(rank):
    made().fit(own_batches(5 + 3 * rank), data_order="loader", **FIT)


@case("The parameter out.weight of Net is float32 (4, 16) on rank 1 and float32 (3, 16) on rank 0")
def another_model(rank):
    module = made()
    module.out = torch.nn.Linear(16, 3 + rank)
    module.fit(loader(8), **FIT)


@case("Rank 1 was given another clip_norm than rank 0: 2.0 there, 1.0 on rank 0")
def another_setting(rank):
    made().fit(loader(8), clip_norm=1.0 + rank, **FIT)


@case("rank 1 has another value of the learning rate of 'main' in group 0 than rank 0: 0.01 there, 0.1 on rank 0")
def another_optimizer(rank):
    module = made()
    module.optimizer = ("sgd", "adamw")[rank]
    module.fit(loader(8), **FIT)


@case("Rank 1 was given another arguments than rank 0")
def other_arguments_of_the_module(rank):
    made(dropout=0.1 * rank).fit(loader(8), **FIT)


class OnRank0:
    """A handler that does not ask for all ranks."""

    def __init__(self, does):
        self.does = does

    def on_epoch_completed(self, engine):
        self.does(engine)


class Stops:
    def on_iteration_completed(self, engine):
        if engine.state.iteration == 3:
            engine.terminate()


@case("rank 1 has another value of the learning rate of 'main' in group 0 than rank 0: 0.1 there, 0.5 on rank 0")
def a_handler_on_rank_0_that_changes_the_learning_rate(rank):
    made().fit(loader(8), handlers=[OnRank0(lambda engine: engine.state.optimizers["main"].param_groups[0].update(lr=0.5))], **FIT)


@case("after iteration 3; rank 1 is in iteration 4 and never comes there")
def a_handler_on_rank_0_that_ends_the_run_inside_an_epoch(rank):
    made().fit(loader(8), handlers=[Stops()], **FIT)


@case("the weights of rank 1 are not those of rank 0: their norm is ")
def other_weights(rank):
    Hooked(lambda module, engine: module.out.weight.data.add_(rank)).fit(loader(8), **FIT)


def impatient(rank, name):
    lookout._GRACE_S, lookout._WAITED_S, lookout._STUCK_S = 0.3, 1.0, 0.5
    CASES[name][0](rank)


@pytest.mark.parametrize("name", CASES)
def test_an_error_names_the_rank_and_what_it_is_about(name):
    ended = run_ranks(2, impatient, name)
    told = [each.stderr for each in ended if each.stderr]
    assert len(told) == 1, told
    (text,) = told
    assert text.count("framework.errors.RankError: ") == 1, text
    assert CASES[name][1] in text, text
    assert sorted(each.code for each in ended) == ([0, 1] if "has ended" in text else [1, 1])


class Enough:
    def on_epoch_completed(self, engine):
        engine.terminate(skip_completed=self.skips, reason="It is enough.")

    def __init__(self, skips):
        self.skips = skips


def stop(rank):
    results = [made().fit(loader(8), handlers=[Enough(skips)], **FIT) for skips in (False, True)]
    return [(each.status, each.reason, each.state.iteration) for each in results]


def test_a_handler_on_rank_0_may_end_the_run_at_the_end_of_an_epoch():
    first, second = run_ranks(2, stop)
    assert first.stderr + second.stderr == ""
    assert first.returned == second.returned == [("stopped", "It is enough.", 7)] * 2
