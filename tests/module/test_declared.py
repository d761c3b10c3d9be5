"""What a module declares has defaults, and helpers for steps and hooks."""

import copy
import pickle

import pytest
import torch
from torch import nn

from framework import ModuleError, Plain, StepError, TrainModule
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
    with pytest.raises(
        ModuleError, match=r"Empty assigns self.device = 'cpu', but device is what TrainModule provides. Leave it out"
    ):
        module.device = "cpu"


def test_layers_come_after_init():
    class Early(TrainModule):
        def __init__(self):
            self.width = 3
            self.layer = nn.Linear(1, 1)
            super().__init__()

    words = (
        r"Early assigns self.layer before super\(\).__init__\(\) was called. Make super\(\).__init__\(\) the first line of Early"
    )
    with pytest.raises(ModuleError, match=words):
        Early()


def test_an_error_of_the_users_own_setter_stays():
    class Fixed(TrainModule):
        width = property(lambda self: 3)

    with pytest.raises(AttributeError, match="width"):
        Fixed().width = 4


def test_a_compiled_step_may_assign():
    class Counts(Doubles):
        calls = 0

        def forward(self, x):
            self.calls += 1
            self.last = x + 1
            return 2 * x

    module = Counts()
    compiled = torch.compile(module, backend="eager", fullgraph=True)
    for _ in range(2):
        assert torch.equal(compiled(torch.ones(2)), torch.full((2,), 2.0))
    assert (module.calls, module.last.tolist()) == (2, [2.0, 2.0])


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))], ids=["deepcopy", "pickle"])
def test_a_copy_is_no_part_of_the_run(copied):
    module = Doubles()
    module._recorder, module._backend = Recorder("train"), Plain(torch.device("cpu"))
    other = copied(module)
    assert (other._recorder, other._backend) == (None, None)
    assert module._recorder is not None
    assert other(3) == 6
