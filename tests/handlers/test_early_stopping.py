import gc
import json
import math
import weakref

import pytest
import torch

from framework import Engine, Events, SettingError, TrainModule
from framework.handlers import EarlyStopping
from framework.module.hooks import register_hooks

NAN = math.nan


def make(stopping, values, **state):
    """An engine that evaluates after each step, as fit does: the metrics first, then `on_evaluated`."""

    def step(engine, batch):
        engine.state.metrics["val/x"] = values[engine.state.iteration - 1]
        stopping.on_evaluated(engine)

    engine = Engine(step)
    for name, value in state.items():
        setattr(engine.state, name, value)
    register_hooks(engine, stopping)
    return engine


def run(stopping, values, **state):
    engine = make(stopping, values, **state)
    engine.run(range(len(values)))
    return engine


def stop(*values, **settings):
    """Returns when the run ended and why."""
    engine = run(EarlyStopping("val/x", **{"mode": "min", **settings}), values)
    return engine.state.iteration, engine.terminate_reason


def test_it_stops_when_patience_is_used_up():
    assert stop(0.5, 0.4, 0.4, 0.6, 0.3, 0.3, 0.3, 0.3, 0.1) == (
        8,
        "val/x was not below its best value, 0.3 in iteration 5, in 3 evaluations in a row (patience=3).",
    )


@pytest.mark.parametrize(("patience", "last"), [(1, 2), (2, 3), (4, 5)])
def test_patience_counts_evaluations(patience, last):
    assert stop(1.0, 2.0, 2.0, 2.0, 2.0, 2.0, patience=patience)[0] == last


def test_a_run_that_improves_is_left_alone():
    assert stop(5, 4, 4, 4, 3, 2, 1) == (7, None)


def test_higher_may_be_better():
    assert stop(0.1, 0.2, 0.15, 0.12, 0.11, mode="max", patience=2) == (
        4,
        "val/x was not above its best value, 0.2 in iteration 2, in 2 evaluations in a row (patience=2).",
    )


def test_an_improvement_has_to_be_more_than_min_delta():
    assert stop(1.0, 0.5, 0.75, 0.0, min_delta=0.5, patience=2) == (
        3,
        "val/x was not below its best value, 1 in iteration 1, by more than 0.5 in 2 evaluations in a row (patience=2).",
    )


def test_nan_is_no_improvement_and_is_named():
    assert stop(1.0, NAN, 2.0, NAN) == (
        4,
        "val/x was not below its best value, 1 in iteration 1, in 3 evaluations in a row (patience=3), and was NaN in 2 of them.",
    )


def test_a_number_after_nan_is_an_improvement():
    assert stop(NAN, NAN, 7.0, NAN, 6.0)[1] is None
    assert stop(NAN, NAN, NAN) == (3, "val/x was NaN in 3 evaluations in a row (patience=3).")


def test_what_is_known_of_the_best():
    stopping = EarlyStopping("val/x", mode="max")
    run(stopping, [torch.tensor(1), 3.0, 2])
    assert (stopping.best, stopping.best_iteration, stopping.bad) == (3.0, 2, 1)


def test_the_metric_tells_the_direction():
    assert run(EarlyStopping("val/x", patience=1), [1, 2, 1, 3], directions={"val/x": True}).state.iteration == 3
    assert run(EarlyStopping("val/x", patience=1), [1, 2, 1, 3], directions={"val/x": False}).state.iteration == 2


def test_an_unknown_direction_is_an_error_when_the_run_starts():
    engine = make(EarlyStopping("val/x"), [1.0], directions={})
    with pytest.raises(SettingError, match=r"monitor='val/x': .* Give mode='min' or mode='max'"):
        engine.run([0])
    assert engine.state.iteration == 0


def test_an_unknown_direction_is_an_error_at_the_latest_at_the_first_evaluation():
    with pytest.raises(SettingError, match=r"monitor='val/x': .* Give mode='min' or mode='max'"):
        run(EarlyStopping("val/x"), [1.0])


def test_a_misspelt_monitor_names_what_there_is():
    with pytest.raises(SettingError, match=r"monitor='val/y': the evaluation gives no such metric. There are 'val/x'; give one"):
        run(EarlyStopping("val/y", mode="min"), [1.0])


def test_a_metric_of_several_numbers_cannot_be_monitored():
    with pytest.raises(SettingError, match=r"the metric should be a single number, got a value of type Tensor of shape \(2,\)"):
        run(EarlyStopping("val/x", mode="min"), [torch.ones(2)])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"monitor": ""}, "monitor='': monitor should be the full name of a metric, such as 'val/loss'."),
        ({"monitor": None}, "monitor=None: monitor should be the full name of a metric, such as 'val/loss'."),
        ({"patience": 0}, "patience=0: patience should be a whole number of at least 1 (evaluations)."),
        ({"patience": 2.0}, "patience=2.0: patience should be a whole number of at least 1 (evaluations)."),
        ({"patience": True}, "patience=True: patience should be a whole number of at least 1 (evaluations)."),
        ({"min_delta": -0.1}, "min_delta=-0.1: min_delta should be a number of at least 0."),
        ({"min_delta": NAN}, "min_delta=nan: min_delta should be a number of at least 0."),
        ({"min_delta": math.inf}, "min_delta=inf: min_delta should be a number of at least 0."),
        ({"min_delta": "0"}, "min_delta='0': min_delta should be a number of at least 0."),
        ({"min_delta": False}, "min_delta=False: min_delta should be a number of at least 0."),
        ({"mode": "lower"}, "mode='lower': mode is 'min', 'max', or None to follow the metric."),
    ],
)
def test_settings_are_checked_when_it_is_made(settings, message):
    with pytest.raises(SettingError) as error:
        EarlyStopping(**{"monitor": "val/loss", **settings})
    assert str(error.value) == message


VALUES = [5.0, NAN, 4.0, 6.0, NAN, 7.0, 1.0]


@pytest.mark.fault(16)
@pytest.mark.parametrize("late", [False, True], ids=["loaded before on_started", "loaded after"])
@pytest.mark.parametrize("stopped_at", range(1, 6))
def test_a_resumed_run_stops_where_the_uninterrupted_one_does(stopped_at, late):
    whole = run(EarlyStopping("val/x", mode="min"), VALUES)
    assert whole.state.iteration == 6

    first = EarlyStopping("val/x", mode="min")
    run(first, VALUES[:stopped_at])
    state = json.loads(json.dumps(first.state_dict()))
    second = EarlyStopping("val/x", mode="min")
    engine = make(second, VALUES)
    engine.load_state_dict({"iteration": stopped_at, "epoch_length": 1, "max_epochs": len(VALUES)})
    if late:
        engine.add_event_handler(Events.STARTED, lambda: second.load_state_dict(state))
    else:
        second.load_state_dict(state)
    engine.run([0])
    assert (engine.state.iteration, engine.terminate_reason) == (6, whole.terminate_reason)


def test_the_state_is_plain():
    stopping = EarlyStopping("val/x", mode="min")
    run(stopping, [torch.tensor(2.0), NAN])
    assert stopping.state_dict() == {"monitor": "val/x", "best": 2.0, "best_iteration": 1, "bad": 1, "nan": 1}
    assert [type(value) for value in stopping.state_dict().values()] == [str, float, int, int, int]


def test_a_new_run_of_the_same_object_starts_anew():
    stopping = EarlyStopping("val/x", mode="min", patience=2)
    assert run(stopping, [1.0, 2.0, 3.0, 4.0]).state.iteration == 3
    assert run(stopping, [7.0, 8.0, 6.0, 9.0]).state.iteration == 4
    assert stopping.best == 6.0


def test_a_run_that_goes_on_keeps_counting():
    stopping = EarlyStopping("val/x", mode="min", patience=3)
    engine = make(stopping, [1.0, 2.0, 2.0, 2.0, 2.0])
    engine.run([0], max_epochs=2)
    engine.run([0], max_epochs=5)
    assert engine.state.iteration == 4


def test_the_count_of_another_metric_says_nothing():
    stopping = EarlyStopping("val/x", mode="min")
    engine = make(stopping, [5.0, 5.0, 6.0])
    saved = {"monitor": "val/y", "best": 0.1, "best_iteration": 1, "bad": 2, "nan": 0}
    engine.add_event_handler(Events.STARTED, lambda: stopping.load_state_dict(saved))
    engine.run(range(2))
    assert (stopping.best, stopping.bad, engine.should_terminate) == (5.0, 1, False)


def test_it_keeps_no_engine():
    stopping = EarlyStopping("val/x", mode="min", patience=1)
    engine = weakref.ref(run(stopping, [1.0, 2.0]))
    gc.collect()
    assert engine() is None


def test_fit_stops_and_says_why():
    class Still(TrainModule):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1))

        def training_step(self, batch):
            return 0 * self.weight.sum()

        def evaluation_step(self, batch):
            return {"loss": self.weight.sum()}

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    stopping = EarlyStopping("val/loss", patience=2)
    result = Still().fit([0, 1], [0], max_epochs=9, handlers=[stopping], progress=False)
    assert (result.status, result.state.epoch) == ("stopped", 3)
    assert result.reason == "val/loss was not below its best value, 1 in iteration 2, in 2 evaluations in a row (patience=2)."
