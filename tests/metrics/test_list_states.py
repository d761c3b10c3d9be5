import pytest
import torch
from torchmetrics import ClasswiseWrapper, MeanSquaredError, MetricCollection
from torchmetrics.classification import BinaryAUROC, MulticlassAUROC
from torchmetrics.wrappers import MinMaxMetric

from framework.metrics.list_states import fill_lists, kinds_of_lists


def test_an_unfed_metric_gets_empty_parts_as_others_have_them():
    fed, unfed = MulticlassAUROC(num_classes=3), MulticlassAUROC(num_classes=3)
    fed.update(torch.rand(4, 3).softmax(1), torch.tensor([0, 1, 2, 0]))
    kinds = kinds_of_lists(fed)
    assert kinds == {"preds": (torch.float32, (3,)), "target": (torch.int64, ())}
    assert kinds_of_lists(unfed) == {}
    fill_lists(unfed, kinds)
    assert [(each.dtype, each.shape) for state in (unfed.preds, unfed.target) for each in state] == [
        (torch.float32, (0, 3)),
        (torch.int64, (0,)),
    ]
    fill_lists(fed, kinds)
    assert [len(each) for each in (*fed.preds, *fed.target)] == [4, 4]


def test_the_lists_of_a_collection_go_by_member():
    collection = MetricCollection({"area": BinaryAUROC(), "error": MeanSquaredError()})
    collection.update(torch.rand(2), torch.tensor([0, 1]))
    kinds = kinds_of_lists(collection)
    assert kinds == {"area.preds": (torch.float32, ()), "area.target": (torch.int64, ())}
    unfed = MetricCollection({"area": BinaryAUROC(), "error": MeanSquaredError()})
    fill_lists(unfed, kinds)
    assert kinds_of_lists(unfed) == kinds


@pytest.mark.parametrize(
    "make", [lambda area: MinMaxMetric(area()), lambda area: area() + area(), lambda area: ClasswiseWrapper(area())]
)
def test_the_lists_inside_a_wrapper_or_a_sum_are_found(make):
    def area():
        return MulticlassAUROC(num_classes=3, thresholds=None, average=None)

    fed, unfed = make(area), make(area)
    fed.update(torch.rand(4, 3).softmax(1), torch.tensor([0, 1, 2, 0]))
    kinds = kinds_of_lists(fed)
    assert {name.rpartition(".")[2] for name in kinds} == {"preds", "target"}
    fill_lists(unfed, kinds)
    assert kinds_of_lists(unfed) == kinds


def test_what_is_no_metric_of_torchmetrics_has_no_lists():
    fill_lists(object(), {"preds": (torch.float32, ())})
    assert kinds_of_lists(object()) == {}
