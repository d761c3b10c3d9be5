"""Engines made of the supervised steps."""

import inspect
import sys
from unittest import mock

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from framework.engine import (
    DeterministicEngine,
    Engine,
    Events,
    create_supervised_evaluator,
    create_supervised_trainer,
)

TRAINER = ["model", "optimizer", "loss_fn", "device", "non_blocking", "prepare_batch", "output_transform", "deterministic"]
EVALUATOR = ["model", "metrics", "device", "non_blocking", "prepare_batch", "output_transform"]


@pytest.fixture
def parts():
    model = nn.Linear(2, 1)
    return model, torch.optim.SGD(model.parameters(), lr=0.1), F.mse_loss


@pytest.fixture
def data():
    x = torch.randn(8, 2)
    return [(x, x.sum(1, keepdim=True))]


@pytest.mark.contract(93, "1.18")
@pytest.mark.parametrize(
    ("create", "positional", "keywords"),
    [
        (create_supervised_trainer, TRAINER, {"model_transform", "amp_mode", "scaler", "gradient_accumulation_steps", "model_fn"}),
        (create_supervised_evaluator, EVALUATOR, {"model_transform", "amp_mode", "model_fn"}),
    ],
)
def test_the_signatures_are_the_superset(create, positional, keywords):
    parameters = inspect.signature(create).parameters.values()
    assert [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD] == positional
    assert {p.name for p in parameters if p.kind is p.KEYWORD_ONLY} == keywords


@pytest.mark.contract(93)
def test_a_trainer_learns(parts, data):
    assert create_supervised_trainer(*parts).run(data, max_epochs=200).output < 1e-6


@pytest.mark.contract(93)
@pytest.mark.parametrize(("deterministic", "kind"), [(False, Engine), (True, DeterministicEngine)])
def test_the_engine_is_deterministic_where_asked(parts, deterministic, kind):
    assert type(create_supervised_trainer(*parts, deterministic=deterministic)) is kind


@pytest.mark.contract(98)
@pytest.mark.filterwarnings("ignore:fp16 on the CPU is several times slower")
def test_a_scaler_made_here_is_shown_and_a_given_one_is_used(parts, data):
    trainer = create_supervised_trainer(*parts, amp_mode="amp", scaler=True)
    assert trainer.state.scaler.is_enabled()
    given = torch.amp.GradScaler("cpu", init_scale=2.0**4)
    trainer = create_supervised_trainer(*parts, amp_mode="amp", scaler=given)
    assert not hasattr(trainer.state, "scaler")
    trainer.run(data)
    assert given.get_scale() > 0
    assert given.state_dict()["_growth_tracker"] == 1


@pytest.mark.contract(98)
@pytest.mark.parametrize("amp_mode", [None, "apex"])
def test_a_scaler_without_amp_is_refused(parts, amp_mode):
    with pytest.raises(ValueError, match=f"scaler argument is True, but amp_mode is {amp_mode}."):
        create_supervised_trainer(*parts, amp_mode=amp_mode, scaler=True)


@pytest.mark.contract(99)
def test_a_scaler_without_torch_amp_is_an_import_error(parts):
    with mock.patch.dict(sys.modules, {"torch.amp": None}), pytest.raises(ImportError, match=r"Please install torch>=2\.3\.1"):
        create_supervised_trainer(*parts, amp_mode="amp", scaler=True)


@pytest.mark.contract(100)
@pytest.mark.parametrize(
    "create",
    [lambda parts, **kw: create_supervised_trainer(*parts, **kw), lambda parts, **kw: create_supervised_evaluator(parts[0], **kw)],
)
def test_amp_is_refused_on_mps_and_xla(parts, create):
    with pytest.raises(ValueError, match="amp_mode cannot be used with mps device"):
        create(parts, amp_mode="amp", device="mps")
    with (
        mock.patch("framework.engine.supervised.find_spec", return_value=object()),
        pytest.raises(ValueError, match="amp_mode cannot be used with xla device"),
    ):
        create(parts, amp_mode="amp", device="xla:0")


@pytest.mark.contract(97)
def test_an_xla_device_without_torch_xla_is_a_runtime_error(parts):
    for create in (
        lambda: create_supervised_trainer(*parts, device="xla"),
        lambda: create_supervised_evaluator(parts[0], device="xla"),
    ):
        with pytest.raises(RuntimeError, match="In order to run on TPU, please install PyTorch XLA"):
            create()


@pytest.mark.contract(97)
def test_apex_is_missed_before_the_accumulation_is_checked_and_the_scaler_before_that(parts):
    with pytest.raises(ModuleNotFoundError, match="Please install apex"):
        create_supervised_trainer(*parts, amp_mode="apex", gradient_accumulation_steps=0)
    with pytest.raises(ValueError, match="scaler argument is True"):
        create_supervised_trainer(*parts, amp_mode="apex", scaler=True, gradient_accumulation_steps=0)


@pytest.mark.contract("s")
@pytest.mark.parametrize("amp_mode", ["native", True, "AMP"])
def test_an_unknown_amp_mode_is_refused(parts, amp_mode):
    for create in (
        lambda: create_supervised_trainer(*parts, amp_mode=amp_mode),
        lambda: create_supervised_evaluator(parts[0], amp_mode=amp_mode),
    ):
        with pytest.raises(ValueError, match=f"amp_mode={amp_mode!r} is unknown: it is 'amp', 'apex' or None"):
            create()


@pytest.mark.contract(102)
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("supervised_training_step", {}),
        ("supervised_training_step_amp", {"amp_mode": "amp"}),
        ("supervised_training_step_apex", {"amp_mode": "apex"}),
        ("supervised_training_step_tpu", {"device": "xla"}),
    ],
)
def test_the_steps_are_looked_up_under_their_public_names(parts, name, options):
    with (
        mock.patch(f"framework.engine.{name}", return_value=lambda engine, batch: name) as factory,
        mock.patch("framework.engine.supervised.find_spec", return_value=object()),
    ):
        trainer = create_supervised_trainer(*parts, **options)
    assert trainer.run([0]).output == name
    factory.assert_called_once()


@pytest.mark.contract(101)
def test_an_evaluator_attaches_its_metrics_and_their_results_are_in_the_state(parts, data):
    class Mean:
        def attach(self, engine, name):
            engine.add_event_handler(
                Events.EPOCH_COMPLETED, lambda engine: engine.state.metrics.update({name: engine.state.output[0].mean()})
            )

    model = parts[0]
    state = create_supervised_evaluator(model, {"mean": Mean()}).run(data)
    assert torch.equal(state.metrics["mean"], model(data[0][0]).mean())
    assert not model.training
