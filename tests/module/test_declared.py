"""What a module declares has defaults, and helpers for steps and hooks."""

import copy
import pickle

import pytest
import torch
from torch import nn

from framework import Plain, StepError, TrainModule
from framework.metrics.recorder import Recorder


class Empty(TrainModule):
    pass


class Doubles(TrainModule):
    def forward(self, x):
        return 2 * x


class Mixin:
    def evaluation_step(self, batch):
        return {}


class Mixed(Mixin, Doubles):
    pass


def test_steps_and_optimizers_have_no_default():
    for call in (lambda: Empty().training_step(1), lambda: Empty().evaluation_step(1), Empty().configure_optimizers):
        with pytest.raises(NotImplementedError):
            call()


def test_the_other_declarations_have():
    assert Empty().configure_schedulers({}, 10) is None
    assert Empty().configure_metrics() == {}


@pytest.mark.parametrize("batch", [3, (3, 4), [3, 4]])
def test_a_prediction_is_forward_of_the_input(batch):
    assert Doubles().prediction_step(batch) == 6


def test_what_is_declared_is_what_the_class_defines():
    names = ("training_step", "evaluation_step", "prediction_step", "configure_schedulers")
    assert [Empty().declares(name) for name in names] == [False] * 4
    assert Mixed().declares("evaluation_step")
    assert not Mixed().declares("prediction_step")
    assert Doubles().declares("forward")


def test_log_records_only_in_a_run():
    module = Empty()
    words = r"log\('loss', ...\) was called outside of a run. It works in training_step, evaluation_step and hooks"
    with pytest.raises(StepError, match=words):
        module.log("loss", 1.0)
    module._recorder = Recorder("train")
    module.log("loss", 2.0)
    module.log("loss", torch.tensor(4.0), n=3)
    assert module._recorder.flush(1, 1) == {"train/loss": 3.5}


def test_the_device_is_that_of_what_the_module_holds():
    module = Empty()
    assert module.device == torch.device("cpu")
    module.register_buffer("number", torch.zeros(1, device="meta"))
    assert module.device == torch.device("meta")
    module.weight = nn.Parameter(torch.zeros(1))
    assert module.device == torch.device("cpu")
    with pytest.raises(AttributeError):
        module.device = "cpu"


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))], ids=["deepcopy", "pickle"])
def test_a_copy_is_no_part_of_the_run(copied):
    module = Doubles()
    module._recorder, module._backend = Recorder("train"), Plain(torch.device("cpu"))
    other = copied(module)
    assert (other._recorder, other._backend) == (None, None)
    assert module._recorder is not None
    assert other(3) == 6
