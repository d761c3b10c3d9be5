import pytest
import torch
from torch import nn

from framework import Engine, Recorder, Timers, TrainModule
from framework.handlers import timers
from framework.module.hooks import register_hooks


class Clock:
    """A clock that goes on when it is told to."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now

    def wait(self, seconds):
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(timers, "perf_counter", clock)
    return clock


class Line(TrainModule):
    """Its step takes a second."""

    def __init__(self, clock):
        super().__init__()
        self.layer, self.clock = nn.Linear(1, 1), clock

    def training_step(self, batch):
        self.clock.wait(1.0)
        return self.layer(torch.ones(2, 1) if batch is None else batch).square().mean()

    def evaluation_step(self, batch):
        self.clock.wait(1000.0)
        return {"loss": torch.zeros(())}

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def slow_batches(clock, count=4):
    """Batches of two samples, for each of which one waits a quarter of a second."""

    def batches():
        for _ in range(count):
            clock.wait(0.25)
            yield torch.ones(2, 1)

    return batches


def curves(result):
    return {
        name.removeprefix("train/time/"): [tuple(point[:2]) for point in points]
        for name, points in result.series.items()
        if name.startswith("train/time/")
    }


def fit(clock, train=None, val=None, **settings):
    timer = Timers()
    settings = {"max_epochs": 1, "log_every": 2, "progress": False, "handlers": [timer, *settings.pop("handlers", ())], **settings}
    return Line(clock).fit(slow_batches(clock) if train is None else train, val, **settings)


def test_seconds_an_iteration_the_wait_for_data_and_samples_a_second(clock):
    assert curves(fit(clock)) == {
        "iteration_s": [(2, 1.25), (4, 1.25)],
        "data_s": [(2, 0.25), (4, 0.25)],
        "samples_per_s": [(2, 1.6), (4, 1.6)],
    }


def test_evaluations_and_what_lies_between_two_iterations_are_not_in_it(clock):
    class Between:
        def on_epoch_completed(self):
            clock.wait(500.0)

    result = fit(clock, val=[torch.ones(2, 1)], max_epochs=2, handlers=[Between()])
    assert curves(result)["iteration_s"] == [(iteration, 1.25) for iteration in (2, 4, 6, 8)]


def test_what_the_device_has_still_to_do_at_a_point_is(clock):
    class Device:
        """Stands for one that computes beside the program: whoever reads off it waits."""

        def on_iteration_completed(self, engine):
            if engine.state.iteration == 2:
                clock.wait(3.0)

    assert curves(fit(clock, handlers=[Device()]))["iteration_s"] == [(2, 2.75), (4, 1.25)]


def test_without_data_there_is_no_wait_for_it(clock):
    class Module(Line):
        pass

    timer = Timers()
    result = Module(clock).fit(None, epoch_length=2, max_epochs=1, handlers=[timer], progress=False)
    assert curves(result) == {"iteration_s": [(2, 1.0)], "data_s": [(2, 0.0)], "samples_per_s": [(2, 1.0)]}


def test_an_iteration_that_began_in_another_process_is_left_out(clock):
    engine = Engine(lambda engine, batch: clock.wait(1.0))
    engine.state.recorder = recorder = Recorder("train")
    timer = Timers()
    register_hooks(engine, timer)
    engine.run([0])
    timer.on_started(engine)
    timer.on_get_batch_completed(engine)  # as where a run goes on between the fetch and the step
    timer.on_iteration_completed(engine)
    recorder.log("loss", 1.0)
    assert recorder.flush(2, 1) == {"train/loss": 1.0}


def test_the_same_object_measures_another_run(clock):
    timer = Timers()
    results = [fit(clock, handlers=[]) for _ in range(2)]
    again = [Line(clock).fit(slow_batches(clock), max_epochs=1, handlers=[timer], progress=False) for _ in range(2)]
    assert curves(results[0]) == curves(results[1])
    assert curves(again[0]) == curves(again[1])


def test_times_are_no_metrics(clock):
    result = fit(clock)
    assert set(result.metrics) == {"train/loss"}
    assert not any("/time/" in name for name in result.history[0])
