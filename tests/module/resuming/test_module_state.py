"""What a state_dict leaves out: taken down, and taken up by a fresh module in another process."""

import copy

import pytest
import torch
from torch import nn
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.aggregation import CatMetric
from torchmetrics.classification import MulticlassAccuracy, MulticlassPrecision, MulticlassRecall

from framework import ResumeError
from framework.checkpoint import decode, encode
from framework.module.resuming.module_state import dump_rest, load_rest


def stored(module):
    """What another process reads."""
    return copy.deepcopy(decode(*encode(dump_rest(module), "rest")))


def test_modes_come_back():
    def make():
        return nn.Sequential(nn.Dropout(), nn.Sequential(nn.BatchNorm1d(2), nn.Dropout()))

    module, fresh = make(), make()
    module[1][0].eval()
    fresh[0].eval()
    fresh.training = False
    load_rest(fresh, stored(module))
    assert [part.training for part in fresh.modules()] == [part.training for part in module.modules()] == [True] * 3 + [False, True]


def test_frozen_parameters_come_back():
    module, fresh = (nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1)) for _ in range(2))
    module[0].requires_grad_(False)
    fresh[1].requires_grad_(False)
    load_rest(fresh, stored(module))
    assert [parameter.requires_grad for parameter in fresh.parameters()] == [False, False, True, True]


class Buffers(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("kept", torch.zeros(2))
        self.register_buffer("cache", torch.zeros(2), persistent=False)
        self.register_buffer("empty", None, persistent=False)
        self.register_buffer("emptied", torch.zeros(2), persistent=False)
        self.register_buffer("unused", None)
        shared = torch.zeros(2)
        self.left, self.right = nn.Module(), nn.Module()
        self.left.register_buffer("table", shared, persistent=False)
        self.right.register_buffer("table", shared, persistent=False)
        self.again = self.left


def test_only_buffers_that_no_state_dict_holds_are_taken_down():
    names = ["cache", "empty", "emptied", "unused", "left.table", "right.table"]
    assert list(dump_rest(Buffers())["buffers"]) == names


def test_buffers_come_back_as_they_were():
    module, fresh = Buffers(), Buffers()
    module.kept += 1
    module.cache = torch.arange(3)
    module.empty, module.emptied = torch.ones(1, dtype=torch.bool), None
    module.left.table += 2
    module.left.register_buffer("made", torch.ones(1), persistent=False)
    load_rest(fresh, stored(module))
    assert torch.equal(fresh.kept, torch.zeros(2))  # the state_dict's business
    assert torch.equal(fresh.cache, torch.arange(3))
    assert torch.equal(fresh.empty, torch.ones(1, dtype=torch.bool))
    assert fresh.emptied is None
    assert torch.equal(fresh.left.table, torch.full((2,), 2.0))
    assert fresh.right.table is fresh.left.table is fresh.again.table
    assert torch.equal(fresh.left.made, torch.ones(1))
    assert fresh.state_dict().keys() == Buffers().state_dict().keys()
    assert dump_rest(fresh).keys() == dump_rest(module).keys()


def test_a_buffer_that_only_the_module_of_now_has_stays():
    fresh = Buffers()
    fresh.register_buffer("added", torch.ones(1), persistent=False)
    load_rest(fresh, stored(Buffers()))
    assert torch.equal(fresh.added, torch.ones(1))


@pytest.mark.fault(35)
def test_a_buffer_of_a_part_that_is_gone_is_refused():
    with pytest.raises(
        ResumeError, match=r"The run has a buffer left.table, and this Module has no part 'left'. Make the module as"
    ):
        load_rest(nn.Module(), stored(Buffers()))


class Measured(nn.Module):
    def __init__(self):
        super().__init__()
        self.mean = MeanMetric()
        self.all = CatMetric()
        self.collection = MetricCollection([MulticlassAccuracy(3, average="micro"), MulticlassPrecision(3), MulticlassRecall(3)])

    def update(self, number):
        predicted = torch.randn(4, 3, generator=torch.Generator().manual_seed(number))
        self.mean.update(predicted.mean())
        self.all.update(predicted[0])
        self.collection.update(predicted, torch.arange(4) % 3)

    def compute(self):
        parts = {"mean": self.mean, "all": self.all, **self.collection}
        return {name: metric.compute().tolist() for name, metric in parts.items()}


@pytest.mark.fault(16)
@pytest.mark.parametrize("before", [1, 2])
def test_metrics_inside_a_module_go_on(before):
    module, fresh = Measured(), Measured()
    for number in range(before):
        module.update(number)
    if before == 2:
        module.compute()  # keeps its result until the next update
    fresh.update(99)
    fresh.compute()
    load_rest(fresh, stored(module))
    assert fresh.compute() == module.compute()
    module.update(5)
    fresh.update(5)
    assert fresh.compute() == module.compute()
    assert fresh.mean.update_count == before + 1
    fresh.mean.reset()
    fresh.mean.update(3.0)
    assert fresh.mean.compute() == 3.0
