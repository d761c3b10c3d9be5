import gc
import re
import weakref

import pytest
import torch
from torch import nn

from framework import Engine, Plain, Recorder, TrainModule
from framework.module.non_finite.diagnosis import Diagnosis


class Net(TrainModule):
    """Its loss is bad, or its gradients are."""

    def __init__(self, how):
        super().__init__()
        self.norm = nn.BatchNorm1d(2)
        self.how = how

    def training_step(self, batch):
        self.log("noise", torch.rand(()))
        batch.add_(1)
        return self.how(self.norm(batch).sum())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Two(Net):
    def training_step(self, batch):
        yield "one", self.norm(batch).square().mean()
        yield "two", self.how(self.norm(batch).sum())

    def configure_optimizers(self):
        return {name: torch.optim.SGD([each], lr=0.1) for name, each in (("one", self.norm.weight), ("two", self.norm.bias))}


@pytest.fixture
def engine():
    return Engine(lambda engine, batch: None)


def diagnosis_of(module, engine, batch=None):
    """The diagnosis of a step that was run once; and its optimizers and recorder."""
    recorder = module._recorder = Recorder("train")
    optimizers = module.configure_optimizers()
    optimizers = optimizers if isinstance(optimizers, dict) else {"main": optimizers}
    diagnosis = Diagnosis(
        module, lambda batch, engine: module.training_step(batch), Plain(torch.device("cpu")), optimizers, recorder
    )
    diagnosis.keep(engine, torch.rand(4, 2) if batch is None else batch)
    return diagnosis, list(optimizers.values()), recorder


def test_the_loss(engine):
    diagnosis, *_ = diagnosis_of(Net(lambda loss: (loss - loss).log()), engine)
    said = diagnosis.of_loss(0)
    assert said.startswith(
        "Run again, the step made the first value that is not finite in the operation log in Net.training_step, outside"
    )
    assert re.search(r"line \d+ of test_diagnosis\.py \(`.*`\)\.$", said)


def test_the_gradients(engine):
    diagnosis, optimizers, _ = diagnosis_of(Net(lambda loss: (loss - loss).sqrt()), engine)
    assert diagnosis.of_gradients(0, optimizers).startswith(
        "Run again, the step made the first gradient that is not finite in SqrtBackward0, the backward of line "
    )


def test_everything_is_as_it_was(engine):
    module = Net(lambda loss: (loss - loss).sqrt())
    batch = torch.rand(4, 2)
    diagnosis, optimizers, recorder = diagnosis_of(module, engine, batch)
    module.norm.weight.grad = gradient = torch.ones(2)
    state, numbers, given = {name: each.clone() for name, each in module.state_dict().items()}, torch.get_rng_state(), batch.clone()
    diagnosis.of_gradients(0, optimizers)
    diagnosis.of_loss(0)
    assert all(torch.equal(state[name], each) for name, each in module.state_dict().items())
    assert torch.equal(torch.get_rng_state(), numbers)
    assert torch.equal(batch, given)
    assert module.norm.weight.grad is gradient
    assert module.norm.bias.grad is None
    assert recorder.read() == {}


def test_the_random_numbers_and_buffers_are_those_of_the_step(engine):
    seen = []

    class Drawing(Net):
        def training_step(self, batch):
            seen.append((torch.rand(()).item(), self.norm.num_batches_tracked.item()))
            return super().training_step(batch)

    module = Drawing(lambda loss: loss)
    diagnosis, *_ = diagnosis_of(module, engine)
    module.training_step(torch.ones(4, 2))
    torch.rand(3)
    diagnosis.of_loss(0)
    assert seen[0] == seen[1]


def test_what_is_not_to_be_seen_again(engine):
    diagnosis, optimizers, _ = diagnosis_of(Net(lambda loss: loss), engine)
    for said in (diagnosis.of_loss(0), diagnosis.of_gradients(0, optimizers)):
        assert said.startswith(
            "Run again, the step did not show it: it is not deterministic, keeps state outside of buffers, or a hook"
        )


def test_what_raises_when_it_is_run_again(engine):
    def once(loss):
        raise LookupError("no more")

    diagnosis, *_ = diagnosis_of(Net(once), engine)
    assert diagnosis.of_loss(0) == "Run again, the step raised LookupError: no more"
    assert not diagnosis._recorder.paused


@pytest.mark.parametrize(("place", "said"), [(0, "did not show it"), (1, "operation log in Two"), (2, "did not show it")])
def test_the_loss_that_was_yielded(engine, place, said):
    diagnosis, *_ = diagnosis_of(Two(lambda loss: (loss - loss).log()), engine)
    again = "Run again (with the weights that the losses before it have stepped), the step " if place else "Run again, the step "
    found = diagnosis.of_loss(place)
    assert found.startswith(again)
    assert said in found


def test_gradients_are_those_of_the_optimizers_of_a_loss(engine):
    diagnosis, optimizers, _ = diagnosis_of(Two(lambda loss: loss.sqrt() * 0 + (loss - loss).sqrt()), engine)
    assert "SqrtBackward0" in diagnosis.of_gradients(1, optimizers[1:])
    assert "did not show it" in diagnosis.of_gradients(2, optimizers[1:])


def test_a_sum_is_judged_by_its_mean(engine):
    class Summed(Net):
        def training_step(self, batch):
            return {"loss": super().training_step(batch), "n": 4}

    diagnosis, *_ = diagnosis_of(Summed(lambda loss: loss / 0), engine)
    assert "operation div in Summed.training_step" in diagnosis.of_loss(0)


def test_it_holds_no_engine(engine):
    diagnosis, *_ = diagnosis_of(Net(lambda loss: loss), engine)
    assert diagnosis._engine() is engine
    gc.collect()
    gc.disable()
    try:
        other = Engine(lambda engine, batch: None)
        diagnosis.keep(other, torch.rand(4, 2))
        gone = weakref.ref(other)
        del other
        assert gone() is None
    finally:
        gc.enable()


def test_a_batch_that_requires_gradients_does_so_again(engine):
    class Penalty(Net):
        def training_step(self, batch):
            (gradient,) = torch.autograd.grad(batch.log().sum(), batch, create_graph=True)
            return gradient.sum() + self.norm.weight.sum() * 0

    diagnosis, *_ = diagnosis_of(Penalty(None), engine, torch.zeros(4, 2, requires_grad=True))
    assert "made the first value that is not finite" in diagnosis.of_loss(0)
