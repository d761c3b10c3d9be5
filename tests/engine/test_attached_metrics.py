import gc
import weakref

import pytest
import torch
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassConfusionMatrix, MulticlassF1Score

from framework import Engine, Events, ModuleError, attach_metrics, create_supervised_evaluator

SCORES = torch.tensor([[2.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 1.0, 2.0], [2.0, 1.0, 0.0]])
BATCHES = [(SCORES, torch.tensor([0, 1, 1, 2])), (SCORES[:2], torch.tensor([0, 1]))]


def accuracy():
    return MulticlassAccuracy(num_classes=3, average="micro")


class Count:
    """Any object with the three verbs."""

    def __init__(self):
        self.fed = []

    def update(self, y_pred, y):
        self.fed.append(len(y))

    def compute(self):
        return sum(self.fed)

    def reset(self):
        self.fed.clear()


class AttachesItself(Count):
    def attach(self, engine, name):
        engine.add_event_handler(Events.COMPLETED, lambda engine: engine.state.metrics.update({name: "attached"}))


@pytest.mark.contract(101)
def test_an_evaluator_takes_torchmetrics():
    metrics = {"accuracy": accuracy(), "count": Count(), "own": AttachesItself()}
    evaluator = create_supervised_evaluator(torch.nn.Identity(), metrics)
    for _ in range(2):  # each run starts them anew
        assert evaluator.run(BATCHES).metrics == {"accuracy": pytest.approx(4 / 6), "count": 6, "own": "attached"}
    assert metrics["own"].fed == []


def test_results_that_are_no_scalars():
    evaluator = Engine(lambda engine, batch: batch)
    both = MetricCollection({"accuracy": accuracy(), "f1": MulticlassF1Score(num_classes=3)})
    attach_metrics(evaluator, {"confusion": MulticlassConfusionMatrix(num_classes=3), "all": both})
    metrics = evaluator.run(BATCHES).metrics
    assert metrics["confusion"].tolist() == [[2, 0, 0], [0, 2, 1], [1, 0, 0]]
    assert sorted(metrics) == ["all/accuracy", "all/f1", "confusion"]


@pytest.mark.contract(101)
def test_metrics_of_ignite_attach_themselves():
    metrics = pytest.importorskip("ignite.metrics")
    evaluator = create_supervised_evaluator(torch.nn.Identity(), {"accuracy": metrics.Accuracy(), "ours": accuracy()})
    assert evaluator.run(BATCHES).metrics == {"accuracy": pytest.approx(4 / 6), "ours": pytest.approx(4 / 6)}


def test_metrics_are_moved_to_the_device():
    metric = accuracy()
    create_supervised_evaluator(torch.nn.Identity(), {"accuracy": metric}, device="meta")
    assert metric.device == torch.device("meta")


@pytest.mark.parametrize(
    ("output", "came"), [(torch.ones(2), "got Tensor."), ((1, 2, 3), "got tuple of length 3."), (None, "got NoneType.")]
)
def test_the_output_is_a_pair(output, came):
    evaluator = Engine(lambda engine, batch: output)
    attach_metrics(evaluator, {"count": Count(), "accuracy": accuracy()})
    with pytest.raises(
        TypeError, match=rf"The metrics 'count', 'accuracy' are fed with the output of the engine, .* {came} Let the"
    ):
        evaluator.run([0])


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        (object(), r"The metric 'a' \(object\) has no update and no compute and no reset"),
        (MulticlassAccuracy, r"The metric 'a' is the class MulticlassAccuracy. Write MulticlassAccuracy\(...\)"),
        (AttachesItself, r"The metric 'a' is the class AttachesItself"),
    ],
)
def test_what_is_no_metric_is_refused(metric, words):
    with pytest.raises(ModuleError, match=words):
        attach_metrics(Engine(lambda engine, batch: batch), {"a": metric})


@pytest.mark.contract(103)
def test_an_engine_with_metrics_is_freed_at_once():
    gc.disable()
    try:
        evaluator = create_supervised_evaluator(torch.nn.Identity(), {"count": Count()})
        evaluator.run(BATCHES)
        gone = weakref.ref(evaluator)
        del evaluator
        assert gone() is None
    finally:
        gc.enable()
