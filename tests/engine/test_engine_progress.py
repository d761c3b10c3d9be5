"""A run that another process takes up: the same events, batches and requests as the run that was never left."""

import pytest

from framework.engine import Engine, Events
from framework.engine.loop import Paused
from framework.engine.progress import dump_progress, load_progress, pause_before

IN_ORDER = [event for event in Events if event not in (Events.EXCEPTION_RAISED, Events.INTERRUPT)]


def make(trace):
    engine = Engine(lambda engine, batch: trace.append(("step", batch)))
    for event in IN_ORDER:
        engine.add_event_handler(event, lambda engine, event=event: trace.append((event.name, engine.state.iteration)))
    return engine


class Skipping:
    """Batches 0, 1, 2 of each pass, from `start` on in the first."""

    def __init__(self, start):
        self.start = start

    def __len__(self):
        return 3

    def __iter__(self):
        start, self.start = self.start, 0
        return iter(range(start, 3))


def uninterrupted():
    trace = []
    make(trace).run(Skipping(0), max_epochs=3)
    return trace


def stopped_at(event, iteration, prepare=lambda engine: None):
    """Returns the trace of a run up to a point, and its progress there."""
    trace, saved = [], []
    engine = make(trace)

    def save(engine):
        if engine.state.iteration == iteration and not saved:
            prepare(engine)
            saved.append(dump_progress(engine, event))
            engine.interrupt()

    engine.add_event_handler(event, save)
    engine.run(Skipping(0), max_epochs=3)
    return trace, saved[0]


def taken_up(saved, start, **arguments):
    trace = []
    engine = make(trace)
    load_progress(engine, saved, Skipping(start), **{"max_epochs": 3, "max_iters": None, **arguments})
    engine.run()
    return trace, engine


@pytest.mark.parametrize(
    ("event", "iteration"),
    [(Events.ITERATION_COMPLETED, iteration) for iteration in range(1, 10)] + [(Events.EPOCH_COMPLETED, end) for end in (3, 6, 9)],
)
def test_the_rest_of_the_run_is_what_it_would_have_been(event, iteration):
    before, saved = stopped_at(event, iteration)
    after, engine = taken_up(saved, iteration - saved["epoch_start"])
    assert after[0] == ("STARTED", iteration)
    assert before + after[1:] == uninterrupted()
    assert engine.state.iteration == 9
    assert engine.state.epoch == 3


def test_progress_is_made_of_plain_values():
    _, saved = stopped_at(Events.ITERATION_COMPLETED, 4)
    assert saved["after"] == "ITERATION_COMPLETED"
    assert type(saved["after"]) is str
    assert (saved["iteration"], saved["epoch"], saved["epoch_length"], saved["epoch_start"]) == (4, 2, 3, 3)


def test_an_end_that_was_asked_for_comes():
    _, saved = stopped_at(Events.ITERATION_COMPLETED, 4, lambda engine: engine.terminate(reason="solved"))
    after, engine = taken_up(saved, 1)
    assert [name for name, _ in after] == ["STARTED", "TERMINATE", "COMPLETED"]
    assert engine.terminate_reason == "solved"


def test_an_end_that_was_asked_for_does_not_come_where_the_run_is_to_go_on():
    _, saved = stopped_at(Events.ITERATION_COMPLETED, 4, lambda engine: engine.terminate(reason="solved"))
    after, engine = taken_up(saved, 1, stay_ended=False)
    assert engine.state.iteration == 9
    assert ("TERMINATE", 4) not in after


def test_the_end_of_an_epoch_that_was_asked_for_comes():
    trace = []
    engine = make(trace)
    engine.add_event_handler(
        Events.ITERATION_COMPLETED, lambda engine: engine.terminate_epoch() if engine.state.iteration == 4 else None
    )
    engine.run(Skipping(0), max_epochs=3)
    before, saved = stopped_at(Events.ITERATION_COMPLETED, 4, lambda engine: engine.terminate_epoch())
    after, _ = taken_up(saved, 0)
    # the one that was stopped has obeyed already
    assert [name for name, _ in after[:3]] == ["STARTED", "TERMINATE_SINGLE_EPOCH", "EPOCH_COMPLETED"]
    assert [each for each in before if each[0] != "TERMINATE_SINGLE_EPOCH"] + after[1:] == trace


def test_an_interruption_asked_for_at_the_start_leaves_the_place():
    _, saved = stopped_at(Events.ITERATION_COMPLETED, 4)
    trace = []
    engine = make(trace)
    load_progress(engine, saved, Skipping(1), max_epochs=3, max_iters=None)
    with engine.add_event_handler(Events.STARTED, lambda engine: engine.interrupt()):
        engine.run()
    assert trace == [("STARTED", 4)]
    again = dump_progress(engine, engine._position.after)
    assert again["after"] == "ITERATION_COMPLETED"
    engine.run()
    assert trace[1] == ("GET_BATCH_STARTED", 4)
    assert engine.state.iteration == 9


@pytest.mark.parametrize(("event", "iteration"), [(Events.ITERATION_COMPLETED, 4), (Events.EPOCH_COMPLETED, 3)])
def test_an_event_left_in_its_middle_is_gone_through_again(event, iteration):
    trace = []
    engine = Engine(lambda engine, batch: None)
    left = []

    def leave(engine):
        if engine.state.iteration == iteration and not left:
            left.append(True)
            pause_before(engine, event)

    engine.add_event_handler(event, leave)
    engine.add_event_handler(event, lambda engine: trace.append(engine.state.iteration))
    engine.run(Skipping(0), max_epochs=3)
    assert iteration not in trace
    saved = dump_progress(engine, engine._position.after)
    other = Engine(lambda engine, batch: None)
    seen = []
    other.add_event_handler(event, lambda engine: seen.append(engine.state.iteration))
    load_progress(other, saved, Skipping(iteration - saved["epoch_start"]), max_epochs=3, max_iters=None)
    other.run()
    assert trace + seen == ([1, 2, 3, 4, 5, 6, 7, 8, 9] if event == Events.ITERATION_COMPLETED else [3, 6, 9])


def test_the_beginning_left_in_its_middle_is_the_beginning():
    engine = Engine(lambda engine, batch: None)
    with engine.add_event_handler(Events.STARTED, lambda engine: pause_before(engine, Events.STARTED)):
        engine.run(Skipping(0), max_epochs=1)
    assert engine.state.epoch == 0
    engine.run(Skipping(0), max_epochs=1)
    assert engine.state.iteration == 3


def test_pausing_is_for_the_loop_to_take():
    engine = Engine(lambda engine, batch: None)

    @engine.on(Events.ITERATION_COMPLETED)
    def leave(engine):
        with pytest.raises(Paused):
            pause_before(engine, Events.ITERATION_COMPLETED)

    engine.run([0], max_epochs=1)


def test_counters_of_custom_events_and_the_users_keys_are_taken_up():
    engine = make([])
    engine.register_events("scored", event_to_attr={"scored": "scores"})
    engine.state.scores, engine.state.best = 4, 0.5
    engine.state_dict_user_keys.append("best")
    engine.run(Skipping(0), max_epochs=1)
    saved = dump_progress(engine, Events.EPOCH_COMPLETED)
    other = make([])
    load_progress(
        other,
        {**saved, "epoch_start": 0, "refilled": False, "used_up": False, "run_s": 0.0, "epoch_s": 0.0},
        Skipping(0),
        max_epochs=2,
        max_iters=None,
    )
    assert (other.state.scores, other.state.best) == (4, 0.5)


def test_durations_go_on():
    _, saved = stopped_at(Events.ITERATION_COMPLETED, 4)
    _, engine = taken_up({**saved, "run_s": 1000.0, "epoch_s": 500.0}, 1)
    assert 1000 < engine.state.times["COMPLETED"] < 2000
    assert engine.state.times["EPOCH_COMPLETED"] < 500  # of the last epoch, which began here
