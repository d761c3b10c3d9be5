import gc
import weakref

import pytest
import torch

from framework import NonFiniteError, Plain, Recorder, StepError, TrainModule
from framework.module.adapter import make_trainer
from framework.module.settings import FitSettings


class Later(Plain):
    """A CPU that is treated as a device on which reading costs a wait."""

    reads_cost_nothing = False


@pytest.fixture
def trainer(line):
    """Makes the training engine of a step: (engine, module, recorder)."""

    def make(training_step=None, backend=None, **settings):
        given = {**TrainModule.fit.__kwdefaults__, "max_epochs": 1, "progress": False, **settings}
        module = type("Module", (line,), {"training_step": training_step or line.training_step})()
        recorder = Recorder("train")
        module._recorder = recorder
        optimizers = {"main": module.configure_optimizers()}
        backend = backend or Plain(torch.device("cpu"))
        engine, parts = make_trainer(module, backend, optimizers, FitSettings(**given), recorder, None)
        return engine, module, recorder, parts.step, parts.window

    return make


def test_the_output_is_the_detached_loss_and_its_mean_is_recorded(trainer, batches):
    engine, _, recorder, step, window = trainer()
    outputs = []
    engine.add_event_handler("ITERATION_COMPLETED", lambda engine: outputs.append(engine.state.output))
    engine.run(batches)
    assert window is None
    assert step.counter.steps == {"main": 6}
    assert not any(output.requires_grad for output in outputs)
    assert recorder.read()["loss"] == [output.item() for output in outputs]


def test_a_mapping_gives_an_output_of_the_same_names(trainer, batches):
    def training_step(self, batch):
        loss = (self(batch[0]) - batch[1]).square().mean()
        return {"loss": loss, "twice": 2 * loss, "three": 3}

    engine, _, recorder, _, _ = trainer(training_step)
    engine.run(batches[:1])
    output = engine.state.output
    assert output["twice"] == 2 * output["loss"]
    assert not output["twice"].requires_grad
    assert output["three"] == 3.0
    recorder.flush(1, 1)
    assert recorder.means() == {
        "train/loss": output["loss"].item(),
        "train/twice": output["twice"].item(),
        "train/three": 3.0,
    }


def test_a_mapping_with_the_loss_alone_is_as_the_loss(trainer, batches):
    engine, _, recorder, _, _ = trainer(lambda self, batch: {"loss": self(batch[0]).mean()})
    engine.run(batches[:1])
    assert engine.state.output.dim() == 0
    assert recorder.read() == {"loss": [engine.state.output.item()]}


def test_means_are_weighted_by_the_samples_of_each_batch(trainer):
    engine, _, recorder, _, _ = trainer(lambda self, batch: self.layer.weight.sum() * 0 + batch.mean())
    engine.run([torch.ones(3, 1), torch.full((1, 1), 5.0)])
    recorder.flush(2, 1)
    assert recorder.means() == {"train/loss": 2.0}


def test_the_step_gets_the_engine_if_it_names_it(trainer, batches):
    seen = []

    def training_step(self, batch, engine):
        seen.append(engine.state.iteration)
        return self(batch[0]).mean()

    engine, *_ = trainer(training_step)
    engine.run(batches)
    assert seen == [1, 2, 3, 4, 5, 6]


def nan_at(iteration):
    def training_step(self, batch, engine):
        loss = self(batch[0]).mean()
        return loss * float("nan") if engine.state.iteration == iteration else loss

    return training_step


def test_on_the_cpu_a_loss_that_is_not_finite_stops_before_the_update(trainer, batches):
    engine, module, *_ = trainer(nan_at(3))
    with pytest.raises(NonFiniteError, match=r"The loss is nan in iteration 3 \(epoch 1\)"):
        engine.run(batches)
    assert torch.isfinite(module.layer.weight).all()


def test_nan_ignore_trains_on(trainer, batches):
    engine, module, *_ = trainer(nan_at(3), nan="ignore")
    engine.run(batches)
    assert engine.state.iteration == 6
    assert torch.isnan(module.layer.weight).all()


def test_where_reading_costs_a_wait_nothing_is_read_in_the_step(trainer, batches, monkeypatch):
    engine, _, recorder, _, _ = trainer(nan_at(3), backend=Later(torch.device("cpu")))

    def refuse(self):
        raise AssertionError("read")

    with monkeypatch.context() as patched:
        patched.setattr(torch.Tensor, "item", refuse)
        engine.run(batches)
    assert engine.state.iteration == 6
    assert len(recorder.read()["loss"]) == 6


def test_the_read_that_comes_later_names_the_iteration(line, batches):
    class Module(line):
        training_step = nan_at(3)

    with pytest.raises(NonFiniteError, match=r"The loss is nan in iteration 3 \(epoch 1\)"):
        Module().fit(batches, max_epochs=1, log_every=2, accelerator=Later(torch.device("cpu")), progress=False)


def test_a_wrong_return_is_refused_in_its_step(trainer, batches):
    engine, *_ = trainer(lambda self, batch: None)
    with pytest.raises(StepError, match=r"got None. Did you forget to return it?"):
        engine.run(batches)
    assert engine.state.iteration == 1


def test_a_subclass_of_tensor_is_a_loss(trainer, batches):
    class Loss(torch.Tensor):
        pass

    engine, *_ = trainer(lambda self, batch: self(batch[0]).mean().as_subclass(Loss))
    engine.run(batches)
    assert engine.state.iteration == 6


def test_logging_what_the_step_returns_is_an_error(trainer, batches):
    def training_step(self, batch):
        self.log("loss", 1.0)

    engine, *_ = trainer(training_step)
    with pytest.raises(StepError, match="train/loss is recorded from what the step returns"):
        engine.run(batches)


def test_the_parts_hold_no_engine(trainer, batches):
    gc.collect()
    gc.disable()
    try:
        engine, *kept = trainer(accumulate=2, clip_norm=1.0)
        engine.run(batches)
        gone = weakref.ref(engine)
        del engine
        assert gone() is None
        assert kept
    finally:
        gc.enable()
