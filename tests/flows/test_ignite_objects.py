"""Ignite's own handlers and metrics on our engine, with Ignite's own events."""

import logging

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from framework.engine import Engine, Events, create_supervised_evaluator, create_supervised_trainer

ignite_engine = pytest.importorskip("ignite.engine", reason="pytorch-ignite is a test-only dependency")
from ignite.handlers import (  # noqa: E402
    Checkpoint,
    DiskSaver,
    EarlyStopping,
    LRScheduler,
    PiecewiseLinear,
    ProgressBar,
    TerminateOnNan,
    Timer,
)
from ignite.metrics import Accuracy, ConfusionMatrix, Loss, RunningAverage  # noqa: E402

Theirs = ignite_engine.Events


@pytest.fixture
def model():
    return nn.Linear(4, 3)


@pytest.fixture
def data():
    return [(torch.randn(8, 4), torch.randint(3, (8,))) for _ in range(5)]


@pytest.fixture
def optimizer(model):
    return torch.optim.SGD(model.parameters(), lr=0.1)


@pytest.fixture
def trainer(model, optimizer):
    return create_supervised_trainer(model, optimizer, F.cross_entropy)


def test_their_events_are_ours_and_filtered_forms_work():
    seen = []
    engine = Engine(lambda engine, batch: None)
    engine.add_event_handler(Theirs.ITERATION_COMPLETED(every=2), lambda engine: seen.append(engine.state.iteration))
    engine.add_event_handler(
        Theirs.EPOCH_STARTED | Theirs.EPOCH_COMPLETED(once=2), lambda engine: seen.append(engine.last_event_name)
    )
    engine.run([0, 1], max_epochs=2)
    assert seen == ["EPOCH_STARTED", 2, "EPOCH_STARTED", 4, "EPOCH_COMPLETED"]
    for ours in Events:
        theirs = Theirs[ours.name]
        assert ours == theirs
        assert theirs == ours
        assert hash(ours) == hash(theirs)
        assert {theirs: 1}[ours] == {ours: 1}[theirs] == 1


def test_metrics_give_the_right_results(model, data):
    metrics = {"accuracy": Accuracy(), "loss": Loss(F.cross_entropy), "confusion": ConfusionMatrix(3)}
    state = create_supervised_evaluator(model, metrics).run(data)
    x, y = torch.cat([x for x, _ in data]), torch.cat([y for _, y in data])
    with torch.no_grad():
        y_pred = model(x)
    assert state.metrics["accuracy"] == pytest.approx((y_pred.argmax(1) == y).double().mean().item())
    assert state.metrics["loss"] == pytest.approx(F.cross_entropy(y_pred, y).item(), rel=1e-6)
    expected = torch.zeros(3, 3, dtype=torch.int64)
    for target, prediction in zip(y, y_pred.argmax(1), strict=True):
        expected[target, prediction] += 1
    assert torch.equal(state.metrics["confusion"], expected)


def test_a_checkpoint_saves_and_loads_the_engine_and_the_model(trainer, model, optimizer, data, tmp_path):
    checkpoint = Checkpoint({"trainer": trainer, "model": model}, DiskSaver(str(tmp_path)), n_saved=2)
    trainer.add_event_handler(Theirs.EPOCH_COMPLETED(every=1), checkpoint)
    trainer.run(data, max_epochs=3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint_10.pt", "checkpoint_15.pt"]
    resumed, other = create_supervised_trainer(model, optimizer, F.cross_entropy), nn.Linear(4, 3)
    Checkpoint.load_objects({"trainer": resumed, "model": other}, torch.load(tmp_path / "checkpoint_15.pt"))
    assert (resumed.state.epoch, resumed.state.iteration) == (3, 15)
    assert torch.equal(other.weight, model.weight)


def test_the_progress_bar_shows_the_running_average(trainer, data, capsys):
    RunningAverage(output_transform=float, alpha=0.5).attach(trainer, "loss")
    losses = []
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: losses.append(engine.state.output))
    ProgressBar(persist=True).attach(trainer, ["loss"])
    trainer.run(data)
    average = losses[0]
    for loss in losses[1:]:
        average = 0.5 * average + 0.5 * loss
    assert trainer.state.metrics["loss"] == pytest.approx(average)
    assert "[5/5] 100%" in capsys.readouterr().err


def test_terminate_on_nan_stops_the_run(data, caplog):
    engine = Engine(lambda engine, batch: float("nan") if engine.state.iteration == 3 else 0.0)
    handler = TerminateOnNan()
    handler.logger.propagate = True
    engine.add_event_handler(Theirs.ITERATION_COMPLETED, handler)
    with caplog.at_level(logging.WARNING):
        assert engine.run(data, max_epochs=2).iteration == 3
    assert "Stop training" in caplog.text


def test_a_timer_counts_the_iterations(data):
    engine, timer = Engine(lambda engine, batch: None), Timer(average=True)
    timer.attach(
        engine,
        start=Theirs.STARTED,
        resume=Theirs.ITERATION_STARTED,
        pause=Theirs.ITERATION_COMPLETED,
        step=Theirs.ITERATION_COMPLETED,
    )
    engine.run(data, max_epochs=2)
    assert timer.step_count == 10
    assert 0 < timer.value() < 0.1


def test_parameter_schedulers_set_the_learning_rate(trainer, optimizer, data):
    rates = []
    trainer.add_event_handler(Theirs.ITERATION_STARTED, PiecewiseLinear(optimizer, "lr", [(0, 0.5), (4, 0.1)]))
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: rates.append(optimizer.param_groups[0]["lr"]))
    trainer.run(data)
    assert rates == pytest.approx([0.5, 0.4, 0.3, 0.2, 0.1])


@pytest.mark.filterwarnings("ignore:.*:UserWarning")  # of torch, about the order in which Ignite steps it
def test_a_torch_scheduler_in_their_wrapper_steps(trainer, optimizer, data):
    trainer.add_event_handler(Theirs.EPOCH_COMPLETED, LRScheduler(torch.optim.lr_scheduler.StepLR(optimizer, 1)))
    trainer.run(data, max_epochs=3)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1 * 0.1**2)


def test_what_cannot_work_fails_as_documented(trainer):
    with pytest.raises(TypeError, match="Argument trainer should be an instance of Engine"):
        EarlyStopping(3, lambda engine: 0.0, trainer)
    with pytest.raises(TypeError):
        Theirs.STARTED | Events.COMPLETED
