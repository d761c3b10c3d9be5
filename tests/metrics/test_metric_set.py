import pytest
import torch
from torchmetrics import MeanSquaredError
from torchmetrics.classification import MulticlassAccuracy

from framework import MetricSet, ModuleError, StepError


class Sum:
    """Anything with the three verbs is a metric."""

    def __init__(self, result=lambda total: total):
        self.total = 0.0
        self.result = result

    def update(self, prediction, target):
        self.total += float(prediction) * float(target)

    def compute(self):
        return self.result(self.total)

    def reset(self):
        self.total = 0.0


def test_every_metric_is_fed_and_read():
    metrics = MetricSet({"error": MeanSquaredError(), "sum": Sum()})
    metrics.update((torch.tensor(3.0), torch.tensor(1.0)))
    metrics.update([torch.tensor(1.0), torch.tensor(1.0)])
    assert metrics.compute() == {"error": 2.0, "sum": 4.0}


def test_one_metric_is_fed_by_name():
    metrics = MetricSet({"a": Sum(), "b": Sum()})
    metrics.update((2, 3), "a")
    metrics.update((5, 1), "b")
    assert metrics.compute() == {"a": 6.0, "b": 5.0}
    assert "a" in metrics
    assert "c" not in metrics


def test_reset_forgets():
    metrics = MetricSet({"sum": Sum()})
    metrics.update((2, 3))
    metrics.reset()
    with pytest.raises(StepError, match="'sum' got no predictions"):
        metrics.compute()
    metrics.update((1, 1))
    assert metrics.compute() == {"sum": 1.0}


def test_results_are_plain_numbers_or_cpu_tensors():
    weight = torch.ones(2, requires_grad=True)
    metrics = MetricSet(
        {
            "one": Sum(lambda total: torch.tensor([total])),
            "many": Sum(lambda total: 2 * weight),
            "parts": Sum(lambda total: {"x": torch.tensor(total), "y": 7}),
        }
    )
    metrics.update((2, 3))
    results = metrics.compute()
    assert (results["one"], results["parts/x"], results["parts/y"]) == (6.0, 6.0, 7)
    assert isinstance(results["one"], float)
    assert torch.equal(results["many"], torch.tensor([2.0, 2.0]))
    assert not results["many"].requires_grad


def test_metrics_that_can_move_are_moved():
    metric = MulticlassAccuracy(num_classes=2, average="micro")
    metrics = MetricSet({"accuracy": metric, "sum": Sum()}, torch.device("meta"))
    assert metrics._metrics["accuracy"].device == torch.device("meta")


def test_no_metrics_take_no_pair():
    metrics = MetricSet({})
    assert metrics.compute() == {}
    with pytest.raises(StepError, match="there is no metric to feed them to"):
        metrics.update((1, 2))


@pytest.mark.parametrize(
    ("pair", "came"),
    [(torch.ones(2), "got Tensor."), ((1, 2, 3), "got tuple of length 3."), ([1], "got list of length 1."), ("ab", "got str.")],
)
def test_only_pairs(pair, came):
    with pytest.raises(StepError) as error:
        MetricSet({"sum": Sum()}).update(pair)
    assert str(error.value) == (
        "evaluation_step should return (y_pred, y) for the metrics, a mapping of names to scalars and pairs, or None; " + came
    )


@pytest.mark.parametrize("given", [None, [Sum()], Sum()])
def test_metrics_come_by_name(given):
    with pytest.raises(ModuleError, match=r"configure_metrics should return a mapping from names to metrics.*got"):
        MetricSet(given)


def test_each_metric_has_the_three_verbs():
    class Halfway:
        update = reset = None

        def compute(self): ...

    with pytest.raises(ModuleError, match=r"The metric 'half' \(Halfway\) has no update and no reset. Give an object that has"):
        MetricSet({"half": Halfway()})


def test_a_class_is_no_metric():
    with pytest.raises(ModuleError, match=r"The metric 'sum' is the class Sum. Write Sum\(...\)."):
        MetricSet({"sum": Sum})


def test_a_metric_that_was_never_fed_says_what_to_return():
    metrics = MetricSet({"a": Sum(), "b": Sum()})
    metrics.update((1, 2), "a")
    with pytest.raises(StepError, match=r"The metric 'b' got no predictions: .*\{'b': \(y_pred, y\)\}.*leave the metric out"):
        metrics.compute()


def test_an_error_in_a_metric_names_it_and_what_it_was_fed():
    metrics = MetricSet({"error": MeanSquaredError()})
    with pytest.raises(RuntimeError, match="same shape") as info:
        metrics.update((torch.ones(2, 3), torch.ones(2)))
    assert info.value.__notes__ == [
        "It was raised by the metric 'error' (MeanSquaredError), fed with float32 (2, 3) and float32 (2,)."
    ]
    with pytest.raises(TypeError) as info:
        MetricSet({"sum": Sum()}).update((None, 1))
    assert info.value.__notes__[0].endswith("'sum' (Sum), fed with an object of type NoneType and an object of type int.")


def test_an_error_in_compute_names_the_metric():
    metrics = MetricSet({"sum": Sum(lambda total: [][0])})
    metrics.update((1, 2))
    with pytest.raises(IndexError) as info:
        metrics.compute()
    assert info.value.__notes__ == ["It was raised by compute() of the metric 'sum' (Sum), which was fed 1 times."]


def test_a_metric_that_computes_nothing():
    metrics = MetricSet({"sum": Sum(lambda total: None)})
    metrics.update((1, 2))
    with pytest.raises(StepError, match=r"compute\(\) of the metric 'sum' \(Sum\) returned None. Return a number"):
        metrics.compute()


def test_one_object_is_one_metric():
    metric = Sum()
    with pytest.raises(ModuleError, match=r"one object, a Sum, as 'a' and as 'b', which would feed it twice. Make one for each"):
        MetricSet({"a": metric, "b": metric})


def test_its_names_are_what_it_holds():
    assert list(MetricSet({"a": Sum(), "b": Sum()})) == ["a", "b"]


def test_a_pair_by_name_says_which():
    with pytest.raises(StepError, match="got tuple of length 3 under 'sum'"):
        MetricSet({"sum": Sum()}).update((1, 2, 3), "sum")


def test_nothing_is_fed_where_another_process_has_the_batch():
    metrics = MetricSet({"a": Sum()})
    metrics.update((2, 3))
    with metrics.unfed():
        metrics.update((5, 1))
        with pytest.raises(StepError, match="should return"):
            metrics.update(5)
    assert metrics.compute() == {"a": 6.0}
