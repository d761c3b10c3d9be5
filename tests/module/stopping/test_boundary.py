"""Where a run stops and is saved: after steps, where no window of gradients is open."""

import signal
from types import SimpleNamespace

import pytest

from framework import Events, TrainModule
from framework.engine import Engine
from framework.module.adapter import Parts
from framework.module.settings import FitSettings
from framework.module.stopping import boundary as boundary_file
from framework.module.stopping.boundary import Boundary, watch
from framework.module.stopping.signals import StopSignals
from framework.module.window import EpochWindow


class Saver:
    """Is due when told, and notes what is asked of it."""

    def __init__(self):
        self.due, self.saved, self.remembered = False, [], []

    def is_due(self):
        return self.due

    def save(self, engine, after):
        self.due = False
        self.saved.append((engine.state.iteration, after.name))

    def remember(self, engine, event):
        self.remembered.append((engine.state.iteration, event.name))


class Setting:
    """An engine with a boundary, a window, signals that come when told, and a list of what was asked for at which event."""

    def __init__(self, accumulate=1, iterations=None, with_saver=True, max_time_s=None):
        self.window = EpochWindow(accumulate) if accumulate > 1 else None
        self.engine = Engine(lambda engine, batch: self.window and self.window())
        self.signals = SimpleNamespace(asked=None)
        self.saver = Saver() if with_saver else None
        settings = FitSettings(**{**TrainModule.fit.__kwdefaults__, "max_epochs": 1, "max_time_s": max_time_s})
        run = SimpleNamespace(parts=Parts(None, self.window, []))
        self.boundary = Boundary(run, self.signals, self.saver, settings)
        add = self.engine.add_event_handler
        if self.window is not None:
            add(Events.EPOCH_STARTED, lambda: self.window.begin_epoch(iterations))
            add(Events.EPOCH_COMPLETED, lambda: self.window.begin_epoch(None))  # the short window is stepped

    def at(self, event, iteration, ask):
        self.engine.add_event_handler(event, lambda engine: ask() if engine.state.iteration == iteration else None)
        return self

    def run(self, batches=8, epochs=2):
        add = self.engine.add_event_handler
        for event in (Events.GET_BATCH_COMPLETED, Events.ITERATION_STARTED):
            add(event, self.boundary.put_off)
        add(Events.ITERATION_COMPLETED, self.boundary.at_iteration)
        add(Events.EPOCH_COMPLETED, self.boundary.at_epoch_end)
        self.engine.run(range(batches), max_epochs=epochs)
        position = self.engine._position
        return self.engine.state.iteration, position and position.after.name

    def stop(self):
        self.signals.asked = signal.SIGTERM

    def reason(self, *, saved=False):
        return self.boundary.reason(self.engine, saved=saved)

    def save(self):
        self.saver.due = True


ENDED = (16, None)


@pytest.mark.parametrize("with_saver", [True, False])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_a_run_that_nobody_stops(accumulate, with_saver):
    assert Setting(accumulate, with_saver=with_saver).run() == ENDED


@pytest.mark.parametrize("with_saver", [True, False])
def test_a_signal_stops_after_the_iteration_at_hand(with_saver):
    setting = Setting(with_saver=with_saver)
    assert setting.at(Events.ITERATION_STARTED, 3, setting.stop).run() == (3, "ITERATION_COMPLETED")
    assert not with_saver or setting.saver.saved == []  # that is done once the run is paused


def test_a_signal_at_the_end_of_an_epoch_stops_there():
    setting = Setting()
    assert setting.at(Events.EPOCH_COMPLETED, 8, setting.stop).run() == (8, "EPOCH_COMPLETED")


@pytest.mark.parametrize("iteration", [4, 5, 6])
@pytest.mark.parametrize("event", [Events.ITERATION_STARTED, Events.ITERATION_COMPLETED])
def test_a_signal_inside_a_window_waits_for_its_end(event, iteration):
    setting = Setting(accumulate=3)
    assert setting.at(event, iteration, setting.stop).run() == (6, "ITERATION_COMPLETED")


@pytest.mark.parametrize("iteration", [4, 5, 6])
@pytest.mark.parametrize("event", [Events.ITERATION_STARTED, Events.ITERATION_COMPLETED])
def test_an_interruption_inside_a_window_waits_for_its_end(event, iteration):
    setting = Setting(accumulate=3)
    assert setting.at(event, iteration, setting.engine.interrupt).run() == (6, "ITERATION_COMPLETED")


@pytest.mark.parametrize("event", [Events.GET_BATCH_COMPLETED, Events.ITERATION_STARTED])
def test_an_interruption_between_fetch_and_step_waits_for_the_step(event):
    setting = Setting()
    asked = 2 if event == Events.GET_BATCH_COMPLETED else 3  # the count before the iteration, or of it
    assert setting.at(event, asked, setting.engine.interrupt).run() == (3, "ITERATION_COMPLETED")


@pytest.mark.parametrize(("iterations", "after"), [(8, "ITERATION_COMPLETED"), (None, "EPOCH_COMPLETED")], ids=["known", "unknown"])
@pytest.mark.parametrize("ask", ["stop", "interrupt"])
def test_a_window_that_the_end_of_the_data_cuts_short_is_an_end_too(ask, iterations, after):
    setting = Setting(accumulate=3, iterations=iterations)
    asked = setting.stop if ask == "stop" else setting.engine.interrupt
    assert setting.at(Events.ITERATION_COMPLETED, 7, asked).run() == (8, after)


def test_a_save_that_is_due_is_made_after_the_iteration():
    setting = Setting()
    setting.at(Events.ITERATION_COMPLETED, 3, setting.save).at(Events.EPOCH_COMPLETED, 16, setting.save)
    assert setting.run() == ENDED
    assert setting.saver.saved == [(3, "ITERATION_COMPLETED"), (16, "EPOCH_COMPLETED")]


@pytest.mark.parametrize("iteration", [4, 5, 6])
def test_a_save_inside_a_window_waits_for_its_end(iteration):
    setting = Setting(accumulate=3)
    assert setting.at(Events.ITERATION_COMPLETED, iteration, setting.save).run() == ENDED
    assert setting.saver.saved == [(6, "ITERATION_COMPLETED")]


def test_where_a_stop_and_a_save_are_due_the_pause_saves():
    setting = Setting()
    setting.at(Events.ITERATION_COMPLETED, 3, setting.save).at(Events.ITERATION_COMPLETED, 3, setting.stop)
    assert setting.run() == (3, "ITERATION_COMPLETED")
    assert setting.saver.saved == []


def test_a_signal_that_comes_in_a_save_stops_after_it():
    setting = Setting()
    save = setting.saver.save
    setting.saver.save = lambda *arguments: (save(*arguments), setting.stop())
    assert setting.at(Events.ITERATION_COMPLETED, 3, setting.save).run() == (3, "ITERATION_COMPLETED")
    assert setting.saver.saved == [(3, "ITERATION_COMPLETED")]


@pytest.mark.parametrize("with_saver", [True, False])
def test_the_limit_of_time(monkeypatch, with_saver):
    clock = [100.0]
    monkeypatch.setattr(boundary_file, "perf_counter", lambda: clock[0])

    def tick():
        clock[0] += 1

    setting = Setting(max_time_s=2.5, with_saver=with_saver)
    setting.engine.add_event_handler(Events.ITERATION_STARTED, tick)
    assert setting.reason() is None
    assert setting.run() == (3, "ITERATION_COMPLETED")
    assert setting.reason() == "max_time_s=2.5 was reached."
    setting.stop()
    assert setting.reason() == "SIGTERM ended the run in epoch 1, iteration 3."


@pytest.mark.parametrize(
    ("asked", "saved", "reason"),
    [
        (
            signal.SIGINT,
            True,
            "SIGINT (Ctrl-C) ended the run in epoch 1, iteration 3; it is saved and goes on with the same command.",
        ),
        (signal.SIGINT, False, "SIGINT (Ctrl-C) ended the run in epoch 1, iteration 3."),
        (signal.SIGTERM, True, "SIGTERM ended the run in epoch 1, iteration 3; it is saved and goes on with the same command."),
    ],
)
def test_the_reason_says_which_signal_came_and_where(asked, saved, reason):
    setting = Setting()
    setting.at(Events.ITERATION_COMPLETED, 3, setting.stop).run()
    setting.signals.asked = asked
    assert setting.reason(saved=saved) == reason


def test_the_watchdog_hears_of_every_iteration():
    setting, beats = Setting(accumulate=3), []
    setting.boundary.watchdog = SimpleNamespace(beat=lambda: beats.append(setting.engine.state.iteration))
    setting.run(epochs=1)
    assert beats == list(range(1, 9))
    evaluation = SimpleNamespace(engine=Engine(lambda engine, batch: None))
    watch(evaluation, setting.boundary)
    evaluation.engine.run(range(3))
    assert len(beats) == 11


@pytest.mark.fault(24, 25)
def test_the_watchdog_is_told_where_the_run_is():
    setting, said = Setting(), []

    def note(engine):
        said.append(setting.boundary.place(setting.engine))

    def evaluate(engine):
        evaluation = SimpleNamespace(engine=Engine(lambda engine, batch: None))
        watch(evaluation, setting.boundary)
        evaluation.engine.add_event_handler(Events.ITERATION_STARTED(once=2), note)
        evaluation.engine.run(range(2))

    setting.engine.add_event_handler(Events.GET_BATCH_STARTED(once=2), note)  # which counts the iterations before it
    for event in (Events.ITERATION_STARTED, Events.ITERATION_COMPLETED):
        setting.engine.add_event_handler(event(once=3), note)
    setting.engine.add_event_handler(Events.ITERATION_COMPLETED(once=3), evaluate)
    setting.run(epochs=1)
    assert said == [
        "epoch 1, waiting for the batch of iteration 3",
        "epoch 1, in the step of iteration 3",
        "epoch 1, iteration 3, after the event ITERATION_COMPLETED began",
        "epoch 1, in the evaluation after iteration 3, in the step of iteration 2",
    ]


DROPPABLE = (Events.STARTED, Events.ITERATION_COMPLETED, Events.EPOCH_COMPLETED)


def evaluate_at(setting, event, batches=5, stop_at=2):
    """Lets the run evaluate at an event, and a signal come in there; returns the iterations and whether it was to be dropped."""
    seen = []

    def evaluate(engine):
        inner = Engine(lambda engine, batch: None)
        evaluation = SimpleNamespace(engine=inner)
        watch(evaluation, setting.boundary)
        inner.add_event_handler(Events.ITERATION_STARTED(once=stop_at), setting.stop)
        setting.boundary.before_evaluation(engine)
        inner.run(range(batches))
        seen.append((inner.state.iteration, evaluation.to_drop(), setting.boundary._engine))

    setting.engine.add_event_handler(event, evaluate)
    return seen


@pytest.mark.parametrize("event", [*DROPPABLE, Events.EPOCH_STARTED, Events.ITERATION_STARTED, Events.COMPLETED])
def test_an_evaluation_is_given_up_where_its_event_can_be_gone_through_again(event):
    setting = Setting()
    seen = evaluate_at(setting, event if event != Events.ITERATION_COMPLETED else event(once=3))
    setting.run()
    assert seen[0] == ((2, True, None) if event in DROPPABLE else (5, False, None))


def test_it_is_not_given_up_while_a_window_is_open():
    setting = Setting(accumulate=3)
    seen = evaluate_at(setting, Events.ITERATION_COMPLETED(once=4))
    assert setting.run() == (6, "ITERATION_COMPLETED")
    assert seen == [(5, False, None)]
    assert setting.saver.remembered == []


def test_nor_where_nobody_asks_for_it():
    setting = Setting()
    seen = evaluate_at(setting, Events.ITERATION_COMPLETED(once=3), stop_at=9)
    assert setting.run() == ENDED
    assert seen == [(5, False, None)]


@pytest.mark.parametrize("with_saver", [True, False])
def test_the_state_before_an_evaluation_is_remembered(with_saver):
    setting = Setting(with_saver=with_saver)
    for event in (Events.STARTED, Events.EPOCH_STARTED, Events.ITERATION_COMPLETED(once=2), Events.EPOCH_COMPLETED):
        evaluate_at(setting, event, stop_at=9)
    setting.run(epochs=1)
    assert not with_saver or setting.saver.remembered == [(0, "STARTED"), (2, "ITERATION_COMPLETED")]  # the end of an epoch apart


class Signalled:
    """Batches; the wait for one of them is interrupted by a signal."""

    def __init__(self, number, batches=8):
        self.left, self.number = list(range(1, batches + 1)), number

    def __iter__(self):
        return self

    def __next__(self):
        if not self.left:
            raise StopIteration
        if self.left[0] == self.number:
            self.number = None
            signal.raise_signal(signal.SIGTERM)
        return self.left.pop(0)


def fetch_interrupted(setting, number, epochs=1):
    """Lets a signal come in the fetch of a batch; returns where the run is then, and the next batch."""
    engine, data = setting.engine, Signalled(number)
    with StopSignals(lambda frame: setting.boundary.on_signal(frame, engine)) as signals:
        setting.boundary._signals = signals
        engine.add_event_handler(Events.ITERATION_COMPLETED, setting.boundary.at_iteration)
        engine.run(data, max_epochs=epochs, epoch_length=8)
    return engine.state.iteration, engine._position and engine._position.after.name, data.left[:1]


@pytest.mark.fault(10)
def test_a_wait_for_a_batch_is_left_at_once():
    assert fetch_interrupted(Setting(), 4) == (3, "GET_BATCH_STARTED", [4])
    assert fetch_interrupted(Setting(accumulate=3), 4) == (3, "GET_BATCH_STARTED", [4])


def test_it_is_not_left_where_the_batch_would_be_lost():
    setting = Setting()
    setting.boundary.safe_fetch = False
    assert fetch_interrupted(setting, 4) == (4, "ITERATION_COMPLETED", [5])


def test_nor_while_a_window_is_open():
    assert fetch_interrupted(Setting(accumulate=3), 5) == (6, "ITERATION_COMPLETED", [7])


def test_a_signal_elsewhere_does_nothing_at_once():
    setting = Setting()
    assert setting.boundary.on_signal(None, setting.engine) is None
    setting.engine.run([1], max_epochs=1)
    assert setting.boundary.on_signal(None, setting.engine) is None


@pytest.mark.parametrize(("event", "left"), [(Events.EPOCH_COMPLETED, [4]), (Events.COMPLETED, [])], ids=["droppable", "not"])
def test_a_wait_for_a_batch_of_an_evaluation_is_left_where_it_can_be_given_up(event, left):
    setting, data, seen = Setting(), Signalled(4), []

    def evaluate(engine):
        evaluation = SimpleNamespace(engine=Engine(lambda engine, batch: None))
        watch(evaluation, setting.boundary)
        setting.boundary.before_evaluation(engine)
        evaluation.engine.run(data, max_epochs=1, epoch_length=8)
        seen.append((evaluation.engine.state.iteration, evaluation.to_drop(), data.left[:1]))

    setting.engine.add_event_handler(event, evaluate)
    with StopSignals(lambda frame: setting.boundary.on_signal(frame, setting.engine)) as signals:
        setting.boundary._signals = signals
        setting.engine.run([1], max_epochs=1)
    assert seen == [(3, True, left) if left else (8, False, left)]
