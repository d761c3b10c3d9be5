"""The step factories: the same step, on different backends, against loops written by hand."""

import copy
import inspect
import sys
import types
from unittest import mock

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from framework.engine import (
    Engine,
    Events,
    supervised_evaluation_step,
    supervised_evaluation_step_amp,
    supervised_training_step,
    supervised_training_step_amp,
    supervised_training_step_apex,
    supervised_training_step_tpu,
)

TRAINING = ["model", "optimizer", "loss_fn", "device", "non_blocking", "prepare_batch", "output_transform"]
EVALUATION = ["model", "device", "non_blocking", "prepare_batch", "output_transform"]
SIGNATURES = [
    (supervised_training_step, TRAINING, {"model_transform", "gradient_accumulation_steps", "model_fn"}),
    (supervised_training_step_apex, TRAINING, {"model_transform", "gradient_accumulation_steps", "model_fn"}),
    (supervised_training_step_tpu, TRAINING, {"model_transform", "gradient_accumulation_steps", "model_fn"}),
    (
        supervised_training_step_amp,
        [*TRAINING, "scaler"],
        {"model_transform", "gradient_accumulation_steps", "model_fn", "amp_dtype", "device_type"},
    ),
    (supervised_evaluation_step, EVALUATION, {"model_transform", "model_fn"}),
    (supervised_evaluation_step_amp, EVALUATION, {"model_transform", "model_fn", "amp_dtype", "device_type"}),
]


def network():
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))


def batches(count=6):
    return [(torch.randn(5, 4), torch.randint(3, (5,))) for _ in range(count)]


def sgd(model):
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


def same_weights(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.contract("1.18")
@pytest.mark.parametrize(("factory", "positional", "keywords"), SIGNATURES)
def test_the_signatures_are_the_superset(factory, positional, keywords):
    parameters = inspect.signature(factory).parameters.values()
    assert [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD] == positional
    assert {p.name for p in parameters if p.kind is p.KEYWORD_ONLY} == keywords


@pytest.mark.contract(94)
@pytest.mark.parametrize("accumulate", [1, 2, 4])
def test_windows_are_counted_over_the_run_as_in_the_hand_written_loop(accumulate):
    model, data = network(), batches()
    by_hand = copy.deepcopy(model)
    optimizer = sgd(by_hand)
    losses = []
    for iteration, (x, y) in enumerate(data + data, start=1):
        if (iteration - 1) % accumulate == 0:
            optimizer.zero_grad()
        loss = F.cross_entropy(by_hand(x), y)
        losses.append(loss.item())
        (loss / accumulate if accumulate > 1 else loss).backward()
        if iteration % accumulate == 0:
            optimizer.step()

    trainer = Engine(supervised_training_step(model, sgd(model), F.cross_entropy, gradient_accumulation_steps=accumulate))
    outputs = []
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: outputs.append(engine.state.output))
    trainer.run(data, max_epochs=2)
    assert same_weights(model, by_hand)
    assert outputs == losses  # the loss is not divided


@pytest.mark.contract(94)
def test_gradients_are_there_when_an_iteration_completes_and_the_model_is_in_train_mode():
    model = network().eval()
    trainer = Engine(supervised_training_step(model, sgd(model), F.cross_entropy))

    @trainer.on(Events.ITERATION_COMPLETED)
    def look(engine):
        assert all(parameter.grad is not None for parameter in model.parameters())
        assert model.training

    assert trainer.run(batches()).iteration == 6


@pytest.mark.contract(94)
def test_every_callable_is_used_and_gets_what_it_should():
    model = network()
    x, y = torch.randn(5, 4), torch.randint(3, (5,))

    def prepare(batch, device, non_blocking):
        assert (device, non_blocking) == ("cpu", True)
        return batch["x"], batch["y"]

    step = supervised_training_step(
        model,
        sgd(model),
        F.cross_entropy,
        "cpu",
        True,
        prepare,
        lambda x, y, y_pred, loss: (x, y, y_pred, loss),
        model_transform=lambda output: output["logits"],
        model_fn=lambda model, x: {"logits": model(2 * x)},
    )
    expected = model(2 * x).detach()
    state = Engine(step).run([{"x": x, "y": y}])
    assert state.output[0] is x
    assert state.output[1] is y
    assert torch.equal(state.output[2], expected)
    assert torch.equal(state.output[3], F.cross_entropy(expected, y))


@pytest.mark.contract(95)
@pytest.mark.parametrize("steps", [0, -1])
@pytest.mark.parametrize("factory", [supervised_training_step, supervised_training_step_amp])
def test_accumulation_of_less_than_one_is_refused(factory, steps):
    model = network()
    with pytest.raises(ValueError, match=rf"Gradient_accumulation_steps must be strictly positive\. .* Got {steps}\."):
        factory(model, sgd(model), F.cross_entropy, gradient_accumulation_steps=steps)


@pytest.mark.contract(96)
@pytest.mark.filterwarnings("ignore:`torch.jit.trace:DeprecationWarning")
def test_a_traced_model_trains():
    model, data = network(), batches()
    traced = torch.jit.trace(copy.deepcopy(model), data[0][0])
    for one in (model, traced):
        Engine(supervised_training_step(one, sgd(one), F.cross_entropy)).run(data)
    for a, b in zip(model.parameters(), traced.parameters(), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.contract(96)
def test_a_model_on_another_device_than_the_data_is_torchs_error():
    model = network().to("meta")
    with pytest.raises(RuntimeError, match="device"):
        Engine(supervised_training_step(model, sgd(model), F.cross_entropy)).run(batches())


@pytest.mark.contract("s")
@pytest.mark.parametrize("device", [None, "cpu"])
def test_amp_casts_on_the_device_at_hand(device):
    model, data = network(), batches()
    by_hand = copy.deepcopy(model)
    optimizer = sgd(by_hand)
    for x, y in data:
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = F.cross_entropy(by_hand(x), y)
        loss.backward()
        optimizer.step()
    Engine(supervised_training_step_amp(model, sgd(model), F.cross_entropy, device)).run(data)
    assert same_weights(model, by_hand)


@pytest.mark.contract(98)
@pytest.mark.filterwarnings("ignore:fp16 on the CPU is several times slower")
def test_amp_with_a_scaler_is_the_hand_written_fp16_loop():
    model, data = network(), batches()
    by_hand = copy.deepcopy(model)
    optimizer, scaler = sgd(by_hand), torch.amp.GradScaler("cpu")
    for x, y in data:
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.float16):
            loss = F.cross_entropy(by_hand(x), y)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
    given = torch.amp.GradScaler("cpu")
    Engine(supervised_training_step_amp(model, sgd(model), F.cross_entropy, scaler=given)).run(data)
    assert same_weights(model, by_hand)
    assert given.state_dict() == scaler.state_dict()


def test_an_amp_dtype_that_is_none_is_refused():
    model = network()
    with pytest.raises(ValueError, match=r"amp_dtype should be torch\.float16 or torch\.bfloat16, got torch\.float64"):
        supervised_training_step_amp(model, sgd(model), F.cross_entropy, amp_dtype=torch.float64)


@pytest.mark.contract(99)
def test_autocast_is_looked_up_when_the_step_is_built():
    model = network()
    with mock.patch("torch.amp.autocast") as autocast:
        step = supervised_training_step_amp(model, sgd(model), F.cross_entropy)
    Engine(step).run(batches(1))
    autocast.assert_called_once_with("cpu", dtype=torch.bfloat16)


@pytest.mark.contract(99)
@pytest.mark.parametrize("factory", [supervised_training_step_amp, supervised_evaluation_step_amp])
def test_amp_without_torch_amp_is_an_import_error(factory):
    model = network()
    arguments = (model, sgd(model), F.cross_entropy) if factory is supervised_training_step_amp else (model,)
    with mock.patch.dict(sys.modules, {"torch.amp": None}), pytest.raises(ImportError, match=r"Please install torch>=1\.12\.0"):
        factory(*arguments)


@pytest.mark.contract(97)
def test_apex_and_torch_xla_that_are_not_there_are_module_not_found_errors():
    message = r"Please install apex from https://github\.com/nvidia/apex to use amp_mode='apex'\."
    with mock.patch.dict(sys.modules, {"apex": None, "apex.amp": None}), pytest.raises(ModuleNotFoundError, match=message):
        supervised_training_step_apex(None, None, None)
    with (
        mock.patch.dict(sys.modules, {"torch_xla": None}),
        pytest.raises(ModuleNotFoundError, match="torch_xla cannot be imported, please install PyTorch XLA"),
    ):
        supervised_training_step_tpu(None, None, None)


def test_the_apex_step_scales_the_loss_with_apex_amp():
    """A small stand-in for apex.amp: Apex itself is on no package index."""
    scaled = []

    class ScaleLoss:
        def __init__(self, loss, optimizers):
            self.loss = loss
            scaled.append((float(loss.detach()), optimizers))

        def __enter__(self):
            return self.loss

        def __exit__(self, *exception):
            pass

    amp = types.ModuleType("apex.amp")
    amp.scale_loss = ScaleLoss
    apex = types.ModuleType("apex")
    apex.amp = amp
    model, data = network(), batches()
    plain = copy.deepcopy(model)
    optimizer = sgd(model)
    with mock.patch.dict(sys.modules, {"apex": apex, "apex.amp": amp}):
        step = supervised_training_step_apex(model, optimizer, F.cross_entropy, gradient_accumulation_steps=2)
    state = Engine(step).run(data)
    Engine(supervised_training_step(plain, sgd(plain), F.cross_entropy, gradient_accumulation_steps=2)).run(data)
    assert same_weights(model, plain)
    assert len(scaled) == 6
    assert scaled[-1] == (pytest.approx(state.output / 2), [optimizer])


def test_the_tpu_step_reduces_gradients_and_marks_each_step(monkeypatch):
    """A small stand-in for torch_xla, which needs a torch of its own."""
    monkeypatch.setenv("PJRT_DEVICE", "CPU")
    calls = []
    names = ("torch_xla", "torch_xla.core", "torch_xla.core.xla_model", "torch_xla.runtime")
    modules = {name: types.ModuleType(name) for name in names}
    modules["torch_xla"].sync = lambda: calls.append("sync")
    modules["torch_xla.core.xla_model"].reduce_gradients = lambda optimizer: calls.append("reduce")
    modules["torch_xla.core.xla_model"].set_rng_state = lambda seed: None
    modules["torch_xla.runtime"].is_spmd = lambda: False
    model = network()
    with mock.patch.dict(sys.modules, modules):
        step = supervised_training_step_tpu(model, sgd(model), F.cross_entropy, torch.device("cpu"), gradient_accumulation_steps=2)
    Engine(step).run(batches(4))
    assert calls == ["sync", "reduce", "sync", "sync", "reduce", "sync"]


@pytest.mark.contract(101)
@pytest.mark.parametrize("factory", [supervised_evaluation_step, supervised_evaluation_step_amp])
def test_evaluation_is_in_eval_mode_without_gradients_and_gives_the_pair(factory):
    model, (x, y) = network(), batches(1)[0]
    seen = []
    step = factory(model, model_fn=lambda model, x: seen.append((model.training, torch.is_grad_enabled())) or model(x))
    y_pred, target = Engine(step).run([(x, y)]).output
    assert seen == [(False, False)]
    assert target is y
    assert y_pred.dtype is (torch.bfloat16 if factory is supervised_evaluation_step_amp else torch.float32)


@pytest.mark.contract(101)
def test_evaluation_uses_its_transforms():
    step = supervised_evaluation_step(
        nn.Identity(), output_transform=lambda x, y, y_pred: (x, y, y_pred), model_transform=lambda output: output + 1
    )
    assert Engine(step).run([(torch.ones(1), torch.zeros(1))]).output == (torch.ones(1), torch.zeros(1), torch.tensor([2.0]))


def test_a_window_may_begin_in_one_run_and_end_in_the_next():
    def made(split):
        torch.manual_seed(1)
        model = nn.Linear(3, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
        data = [(torch.randn(4, 3), torch.randn(4, 1)) for _ in range(4)]

        def trainer():
            return Engine(supervised_training_step(model, optimizer, nn.functional.mse_loss, gradient_accumulation_steps=4))

        if split:
            trainer().run(data[:2])
            later = trainer()
            later.load_state_dict({"iteration": 2, "max_iters": 4, "epoch_length": 4})
            with pytest.warns(UserWarning, match="Use DeterministicEngine"):
                later.run(iter(data[2:]))
        else:
            trainer().run(data)
        return model.weight

    assert torch.equal(made(split=True), made(split=False))
