import math

import numpy as np
import pytest
import torch

from framework import Recorder, StepError
from framework.metrics import Point, recorder as recorder_module


class Counted(torch.Tensor):
    """A tensor that counts how often its value was read."""

    reads = 0

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        if function in (torch.Tensor.item, torch.Tensor.tolist, torch.Tensor.__float__, torch.Tensor.__bool__):
            cls.reads += 1
        return super().__torch_function__(function, types, args, kwargs)


@pytest.fixture
def recorder():
    return Recorder("train")


def test_means_are_weighted_by_the_samples_of_the_batch(recorder):
    for samples, value in ((8, 1.0), (8, 2.0), (4, 4.0)):
        recorder.samples = lambda samples=samples: samples
        recorder.log("loss", value)
    recorder.flush(3, 1)
    assert recorder.means() == {"train/loss": (8 + 16 + 16) / 20}


def test_a_weight_of_its_own(recorder):
    recorder.samples = lambda: 100
    recorder.log("x", 1.0, n=1)
    recorder.log("x", 4.0, n=np.int64(2))
    recorder.flush(1, 1)
    assert recorder.means() == {"train/x": 3.0}


def test_sums_are_in_float64(recorder):
    big = 2.0**24
    for value in (big, *[1.0] * 100):
        recorder.log("x", torch.tensor(value, dtype=torch.float32), n=1)
    recorder.flush(1, 1)
    assert recorder.means()["train/x"] == (big + 100) / 101


def test_a_point_is_the_mean_since_the_last_one(recorder, monkeypatch):
    monkeypatch.setattr(recorder_module, "time", lambda: 123.0)
    recorder.log("x", 1.0)
    recorder.log("x", 3.0)
    assert recorder.read() == {"x": [1.0, 3.0]}
    recorder.flush(2, 1)
    recorder.log("x", 10.0)
    assert recorder.read() == {"x": [10.0]}
    recorder.flush(3, 2)
    assert recorder.read() == {}
    recorder.flush(4, 2)
    assert recorder.series == {"train/x": [Point(2, 2.0, 1, 123.0), Point(3, 10.0, 2, 123.0)]}
    assert recorder.latest == {"train/x": 10.0}
    assert recorder.means() == {"train/x": 14 / 3}


def test_clear_starts_the_means_anew_and_keeps_the_curves(recorder):
    recorder.log("x", 1.0)
    recorder.flush(1, 1)
    recorder.clear()
    assert recorder.means() == {}
    recorder.log("x", 3.0)
    recorder.flush(2, 1)
    assert recorder.means() == {"train/x": 3.0}
    assert len(recorder.series["train/x"]) == 2


def test_nothing_is_read_before_the_flush(recorder):
    Counted.reads = 0
    for value in range(5):
        recorder.log("x", torch.tensor(float(value)).as_subclass(Counted))
        recorder.record("y", torch.tensor([float(value)]).as_subclass(Counted))
    assert Counted.reads == 0
    assert recorder.read() == {"x": [0.0, 1.0, 2.0, 3.0, 4.0], "y": [0.0, 1.0, 2.0, 3.0, 4.0]}
    recorder.flush(5, 1)
    assert Counted.reads == 2  # one for each name, not one for each value


def test_tensors_and_numbers_may_come_under_one_name_in_their_order(recorder):
    for value in (1.0, torch.tensor(2.0), True, torch.tensor([[3]]), np.float32(4.0), np.array(5)):
        recorder.log("x", value)
    assert recorder.read() == {"x": [1.0, 2.0, 1.0, 3.0, 4.0, 5.0]}
    recorder.flush(1, 1)


def test_what_is_kept_has_no_graph(recorder):
    weight = torch.ones(1, requires_grad=True)
    recorder.record("x", weight * 2)
    (kept,) = recorder.channel("x").values
    assert (kept.requires_grad, kept.shape) == (False, ())


@pytest.mark.parametrize("reads_cost_nothing", [False, True])
def test_a_value_that_changes_in_place_is_recorded_as_it_was(reads_cost_nothing):
    recorder, seen = Recorder("train", reads_cost_nothing=reads_cost_nothing), torch.zeros(())
    for _ in range(3):
        seen += 1
        recorder.log("seen", seen)
    recorder.flush(3, 1)
    assert recorder.means() == {"train/seen": 2.0}


def test_values_of_several_types_under_one_name_keep_their_size(recorder):
    recorder.log("x", torch.tensor(2**24 + 1))
    recorder.log("x", torch.tensor(1.5, dtype=torch.float16))
    recorder.flush(2, 1)
    assert recorder.means() == {"train/x": (2**24 + 2.5) / 2}


def test_a_weight_of_nothing_counts_nothing(recorder):
    recorder.log("x", math.nan, n=0)
    recorder.log("x", 3.0, n=2)
    recorder.flush(2, 1)
    assert recorder.means() == {"train/x": 3.0}


def test_an_empty_batch_has_no_mean(recorder):
    recorder.samples = lambda: 0
    recorder.log("x", float("nan"))
    assert recorder.read()["x"][0] != 0
    assert recorder.means() == {}
    assert recorder.series == {}


def test_a_value_that_is_not_finite_is_recorded(recorder):
    recorder.log("x", math.inf)
    recorder.flush(1, 1)
    assert recorder.means() == {"train/x": math.inf}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.ones(2), r"'x' should be a scalar, got a tensor of shape \(2,\). Take its mean\(\) first."),
        (torch.ones(0), r"got a tensor of shape \(0,\)"),
        ("high", r"'x' should be a number or a tensor of one element, got 'high' \(str\)."),
        (None, r"got None \(NoneType\)"),
        (np.ones(2), r"got array\(\[1., 1.\]\) \(ndarray\)"),
    ],
)
def test_only_scalars(recorder, value, message):
    with pytest.raises(StepError, match=message):
        recorder.log("x", value)


@pytest.mark.parametrize("name", ["", None, 3])
def test_a_name_is_a_text(recorder, name):
    with pytest.raises(StepError, match="needs a non-empty text as name"):
        recorder.log(name, 1.0)


@pytest.mark.parametrize("n", [-1, math.nan, math.inf, "3", torch.tensor(2)])
def test_a_weight_is_a_number_of_at_least_zero(recorder, n):
    with pytest.raises(StepError, match=r"the weight n should be a number of at least 0, got"):
        recorder.log("x", 1.0, n=n)


def test_reserved_names_belong_to_the_step():
    recorder = Recorder("train")
    recorder.reserve("loss")
    with pytest.raises(StepError, match=r"train/loss is recorded from what the step returns. Log under another name"):
        recorder.log("loss", 1.0)
    with pytest.raises(StepError, match=r"train/loss is recorded twice: as its loss and by what the step returns"):
        recorder.record("loss", 1.0)
    recorder.log("x", 1.0)
    with pytest.raises(StepError, match=r"train/x is recorded twice: by log and as the loss of the step"):
        recorder.reserve("x")


def test_a_paused_recorder_records_nothing():
    recorder = Recorder("train")
    with recorder.pause():
        recorder.log("x", 1.0)
    recorder.log("y", 1.0)
    assert recorder.read() == {"y": [1.0]}
    recorder.flush(1, 1)


def test_one_name_is_not_recorded_in_two_ways(recorder):
    recorder.record("x", 1.0)
    recorder.record("x", 2.0)
    with pytest.raises(StepError, match="train/x is recorded from what the step returns"):
        recorder.log("x", 1.0)
    recorder.log("y", 1.0)
    with pytest.raises(StepError, match=r"train/y is recorded twice: by log and by what the step returns. Rename one."):
        recorder.record("y", 1.0)


def test_the_lists_of_a_channel_stay_the_same_objects(recorder):
    channel = recorder.channel("x")
    append, weigh = channel.values.append, channel.weights.append
    for value in (1.0, 3.0):
        append(value)
        weigh(1)
        recorder.flush(1, 1)
    assert recorder.means() == {"train/x": 2.0}


def test_a_complex_number_is_not_recorded():
    recorder = Recorder("train", reads_cost_nothing=True)
    recorder.log("x", torch.tensor(1j))
    with pytest.raises(StepError, match=r"train/x is complex, and only real numbers are recorded. Log its .real"):
        recorder.flush(1, 1)


def test_a_batch_that_another_process_has_gives_names_and_no_weight():
    recorder = Recorder("train", reads_cost_nothing=True)
    share = 1.0
    recorder.share = lambda: share
    recorder.log("x", 1.0, n=2)
    share = 0.0
    recorder.log("x", 5.0, n=2)
    recorder.log("y", 5.0)
    assert recorder.flush(1, 1) == {"train/x": 1.0}
    assert recorder.means() == {"train/x": 1.0}
