import pytest
import torch
from torch import nn

from framework import DataError, ModuleError, StepError, TrainModule


class Noisy(TrainModule):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        return self.drop(self.layer(x))


def test_something_has_to_predict(inputs):
    class Mute(TrainModule): ...

    with pytest.raises(ModuleError, match="Mute has no forward and no prediction_step, one of which predict needs"):
        Mute().predict(inputs)


@pytest.fixture
def inputs():
    return [torch.randn(3, 2) for _ in range(4)]


def test_batches_come_one_by_one_when_asked_for(inputs):
    read = []

    def data():
        for index, x in enumerate(inputs):
            read.append(index)
            yield x

    predictions = Noisy().predict_batches(data())
    assert read == []
    assert next(predictions).shape == (3, 2)
    assert read == [0]
    assert len(list(predictions)) == 3


def test_the_module_is_in_eval_mode_only_while_it_computes(inputs):
    module = Noisy()
    module.layer.eval()
    weight, bias = module.layer.weight.detach(), module.layer.bias.detach()
    for x, prediction in zip(inputs, module.predict_batches(inputs), strict=True):
        assert (module.training, module.layer.training, module.drop.training) == (True, False, True)
        assert torch.is_grad_enabled()
        assert not prediction.requires_grad
        assert torch.equal(prediction, nn.functional.linear(x, weight, bias))


def test_modes_are_put_back_after_an_error(inputs):
    class Broken(Noisy):
        def prediction_step(self, batch):
            raise KeyError

    module = Broken()
    with pytest.raises(KeyError):
        module.predict(inputs)
    assert module.training
    assert torch.is_grad_enabled()


def test_random_streams_are_left_as_they_were_and_go_on_between_batches(inputs):
    class Random(Noisy):
        def prediction_step(self, batch):
            return torch.rand(1)

    module = Random()
    before = torch.get_rng_state()
    first = module.predict(inputs)
    assert torch.equal(before, torch.get_rng_state())
    assert len(first.unique()) == 4
    drawn = []
    torch.manual_seed(0)  # the stream follows from the seed
    for prediction in module.predict_batches(inputs):
        drawn.append(prediction)
        torch.rand(7)
    assert torch.equal(torch.cat(drawn), first)


def test_the_step_may_take_the_engine_and_return_any_tree(inputs):
    class Tree(Noisy):
        def prediction_step(self, batch, engine):
            return {"x": (batch, "text"), "stage": engine.state.stage}

    joined = Tree().predict(inputs)
    assert torch.equal(joined["x"][0], torch.cat(inputs))
    assert joined["x"][1] == ["text"] * 4
    assert joined["stage"] == ["predict"] * 4


def test_limits(inputs):
    assert len(list(Noisy().predict_batches(inputs, limit_batches=2))) == 2
    assert len(list(Noisy().predict_batches(inputs, limit_batches=99))) == 4


def test_log_has_no_place_in_a_prediction(inputs):
    class Logging(Noisy):
        def prediction_step(self, batch):
            self.log("x", 1.0)

    with pytest.raises(StepError, match="was called outside of a run"):
        Logging().predict(inputs)


class Stops(torch.utils.data.Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        if index == 2:
            next(iter(()))
        return torch.ones(2)


def test_a_stray_stop_iteration_is_not_taken_for_the_end():
    with pytest.raises(RuntimeError, match="StopIteration was raised in __getitem__"):
        Noisy().predict(torch.utils.data.DataLoader(Stops()))


class Said:
    """Says that it has four batches."""

    def __init__(self, batches):
        self.batches = batches

    def __len__(self):
        return 4

    def __iter__(self):
        return iter(self.batches)


class Same(TrainModule):
    def prediction_step(self, batch):
        return batch


def test_data_that_is_shorter_than_it_says_is_not_taken_twice():
    outputs = Same().predict_batches(Said([torch.ones(1), torch.ones(1)]))
    assert [next(outputs).item(), next(outputs).item()] == [1.0, 1.0]
    with pytest.raises(DataError, match="The data to predict on says that it has 4 batches and gave 2"):
        next(outputs)
    with pytest.raises(DataError, match="The data to predict on gave no batch: this Said is empty"):
        Same().predict(Said([]))


def test_none_is_no_batch():
    with pytest.raises(DataError, match="The data to predict on gave None as batch 2 of a pass"):
        Same().predict([torch.ones(1), None])
