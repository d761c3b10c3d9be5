"""Numbers that are read at each point of the curves."""

import pytest

from framework import Recorder, StepError


@pytest.fixture
def recorder():
    return Recorder("train", reads_cost_nothing=True)


def test_each_point_of_the_curves_has_what_they_read(recorder):
    asked = []
    recorder.gauge(lambda iteration: asked.append(iteration) or {"lr": iteration / 10, "size": 3})
    for iteration in (1, 2):
        recorder.log("x", 1.0)
        assert recorder.flush(iteration, 1) == {"train/x": 1.0, "train/lr": iteration / 10, "train/size": 3.0}
    assert asked == [1, 2]
    assert [point[:3] for point in recorder.series["train/lr"]] == [(1, 0.1, 1), (2, 0.2, 1)]


def test_without_a_point_they_are_not_asked_nor_twice_in_an_iteration(recorder):
    asked = []
    recorder.gauge(lambda iteration: asked.append(iteration) or {})
    assert recorder.flush(1, 1) == {}
    recorder.log("x", 1.0)
    recorder.flush(2, 1)
    recorder.log("at_the_end", 1.0)
    assert recorder.flush(2, 1) == {"train/at_the_end": 1.0}
    assert asked == [2]


def test_nor_in_the_process_that_goes_on(recorder):
    recorder.gauge(lambda iteration: {"lr": 0.1})
    recorder.log("x", 1.0)
    recorder.flush(2, 1)
    other = Recorder("train")
    other.gauge(lambda iteration: {"lr": 0.1})
    other.load_state_dict(recorder.state_dict())
    other.log("x", 1.0)
    assert other.flush(2, 1) == {"train/x": 1.0}
    other.log("x", 1.0)
    assert other.flush(3, 1) == {"train/x": 1.0, "train/lr": 0.1}


def test_they_are_in_no_means_and_nothing_that_is_saved(recorder):
    recorder.log("x", 1.0)
    recorder.gauge(lambda iteration: {"clock": 5.0})
    recorder.flush(1, 1)
    assert recorder.means() == recorder.latest == {"train/x": 1.0}
    assert "clock" not in str(recorder.state_dict())


def test_one_that_is_given_twice_is_asked_once(recorder):
    def read(iteration):
        return {"lr": 0.1}

    recorder.gauge(read)
    recorder.gauge(read)
    recorder.log("x", 1.0)
    assert recorder.flush(1, 1) == {"train/x": 1.0, "train/lr": 0.1}


@pytest.mark.parametrize(
    "other", [lambda recorder: recorder.log("lr", 1.0), lambda recorder: recorder.gauge(lambda _: {"lr": 1.0})]
)
def test_a_name_has_one_source(recorder, other):
    recorder.gauge(lambda iteration: {"lr": 0.1})
    other(recorder)
    recorder.log("x", 1.0)
    with pytest.raises(StepError, match=r"^train/lr is recorded twice: by a gauge.* Rename what is logged, or leave one of two"):
        recorder.flush(1, 1)


def test_one_that_yields_leaves_out_what_something_else_has(recorder):
    recorder.gauge(lambda iteration: {"lr": 0.1, "size": 1, "x": 5.0, "left": 2}, yields=True)
    recorder.gauge(lambda iteration: {"size": 3})
    recorder.log("x", 1.0)
    recorder.log("lr", 0.5)
    assert recorder.flush(1, 1) == {"train/x": 1.0, "train/lr": 0.5, "train/size": 3.0, "train/left": 2.0}
    recorder.log("x", 2.0)  # and what it has had once, also at points without it
    assert recorder.flush(2, 1) == {"train/x": 2.0, "train/size": 3.0, "train/left": 2.0}
