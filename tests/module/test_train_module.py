import copy
import pickle

import pytest
import torch
from torch import nn

from framework import AcceleratorError, DataError, ModuleError, Recording, StepError, TrainModule


class Double(TrainModule):
    def forward(self, x):
        return 2 * x


def test_it_is_a_module():
    module = Double()
    assert isinstance(module, nn.Module)
    assert torch.equal(module(torch.ones(2)), torch.full((2,), 2.0))


@pytest.mark.parametrize("name", ["training_step", "evaluation_step"])
def test_steps_must_be_given(name):
    with pytest.raises(NotImplementedError):
        getattr(TrainModule(), name)(None)


def test_declarations_have_harmless_defaults():
    module = TrainModule()
    assert module.configure_metrics() == {}
    assert module.configure_schedulers({}, None) is None
    with pytest.raises(NotImplementedError):
        module.configure_optimizers()


def test_declares_tells_what_a_class_defines(line):
    assert line().declares("training_step")
    assert not line().declares("configure_metrics")
    assert not TrainModule().declares("training_step")


def test_the_default_prediction_is_forward_of_the_batch_or_its_first_element():
    module, x = Double(), torch.ones(2)
    for batch in (x, (x, None), [x, None]):
        assert torch.equal(module.prediction_step(batch), 2 * x)


def test_the_device_is_that_of_parameters_else_buffers_else_the_cpu(line):
    assert line().device == torch.device("cpu")
    assert line().to("meta").device == torch.device("meta")
    buffered = Double()
    buffered.register_buffer("seen", torch.ones(1, device="meta"))
    assert buffered.device == torch.device("meta")
    assert Double().device == torch.device("cpu")
    with pytest.raises(ModuleError, match=r"Double assigns self.device = 'cpu', but device is what TrainModule provides"):
        buffered.device = "cpu"


def test_log_outside_of_a_run():
    with pytest.raises(StepError, match=r"log\('x', ...\) was called outside of a run. It works in training_step, evaluation_step"):
        Double().log("x", 1.0)


def test_log_is_off_again_after_a_run(line, batches):
    module = line()
    module.fit(batches, max_epochs=1, progress=False)
    with pytest.raises(StepError, match="outside of a run"):
        module.log("x", 1.0)


def test_evaluate_gives_results_by_full_name(line, batches):
    module = line()
    results = module.evaluate(batches)
    losses = [nn.functional.mse_loss(module(x), y).item() for x, y in batches]
    assert results == {"test/loss": pytest.approx(sum(losses) / len(losses))}


def test_evaluate_needs_an_evaluation_step():
    with pytest.raises(ModuleError, match=r"Double has no evaluation_step, which evaluate needs. Define it in the class."):
        Double().evaluate([torch.ones(1)])


def test_predict_joins_the_batches():
    assert torch.equal(Double().predict([torch.ones(2), torch.zeros(1)]), torch.tensor([2.0, 2.0, 0.0]))


def test_predict_takes_no_more_than_its_limit(counted, line):
    assert line().predict(counted, limit_batches=2).shape == (16, 1)
    assert counted.reads == 2


def test_predict_on_nothing():
    with pytest.raises(DataError, match="The data to predict on gave no batch: this list_iterator is empty"):
        Double().predict(iter([]))
    with pytest.raises(DataError, match="data is empty: len"):
        Double().predict([])


@pytest.mark.parametrize(
    "outputs",
    [[torch.ones(1, 2), torch.ones(1, 3)], [(1,), (1, 2)], [{"a": torch.ones(1)}, {"b": torch.ones(1)}], [torch.ones(1), None]],
    ids=["shapes", "lengths", "keys", "types"],
)
def test_predictions_that_cannot_be_joined(outputs):
    class Scattered(TrainModule):
        def prediction_step(self, index):
            return outputs[index]

    with pytest.raises(StepError, match=r"The predictions of 2 batches cannot be joined.*predict_batches yields them one by one"):
        Scattered().predict([0, 1])
    assert len(list(Scattered().predict_batches([0, 1]))) == 2


def test_the_backend_of_the_last_fit_is_used_again(line, batches):
    backend = Recording()
    module = line()
    module.fit(batches[:1], max_epochs=1, accelerator=backend, progress=False)
    assert module._backend_for(None, None) is backend
    assert module._backend_for("cpu", None) is not backend
    assert module._backend_for(None, "bf16").precision == "bf16"


@pytest.mark.parametrize("verb", ["evaluate", "predict"])
def test_an_accelerator_that_is_not_here(line, batches, verb):
    with pytest.raises(AcceleratorError, match="accelerator='gpu' is unknown"):
        getattr(line(), verb)(batches, accelerator="gpu")


def test_the_precision_of_a_verb_is_used():
    class Module(TrainModule):
        def prediction_step(self, x):
            return x @ x

    assert Module().predict([torch.ones(2, 2)], precision="bf16").dtype is torch.bfloat16


def test_a_fitted_module_can_be_copied(line, batches):
    module = line()
    module.fit(batches, max_epochs=1, progress=False)
    twin = copy.deepcopy(module)
    assert torch.equal(twin.layer.weight, module.layer.weight)
    assert twin.layer.weight is not module.layer.weight


def test_a_fitted_module_keeps_nothing_in_its_state_dict(line, batches):
    module = line()
    before = list(module.state_dict())
    module.fit(batches, max_epochs=1, progress=False)
    assert list(module.state_dict()) == before


class Picklable(Double):
    pass


def test_a_module_can_be_pickled():
    assert isinstance(pickle.loads(pickle.dumps(Picklable())), Picklable)
