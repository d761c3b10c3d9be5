"""What every training step has."""

import pytest
import torch

from framework.backends import Plain
from framework.steps.step import ALONE, Place, Step


class Nothing(Step):
    def run(self, engine, batch):
        return batch

    def finish_window(self):
        pass


class Observer:
    def __init__(self, active):
        self.active = active


def test_a_window_of_its_own_opens_and_closes_with_the_one_micro_batch():
    assert Place(first=True, last=True, size=1) == ALONE


def test_an_observer_counts_only_while_it_wants_to_be_told():
    step = Nothing(Plain(torch.device("cpu")), {"main": object()})
    assert step.watching() is None
    step.observer = Observer(active=False)
    assert step.watching() is None
    step.observer = Observer(active=True)
    assert step.watching() is step.observer


def test_each_optimizer_has_its_count():
    assert Nothing(Plain(torch.device("cpu")), {"a": object(), "b": object()}).counter.steps == {"a": 0, "b": 0}


def test_run_and_finish_window_are_to_be_given():
    with pytest.raises(TypeError, match="abstract"):
        Step(Plain(torch.device("cpu")), {})
