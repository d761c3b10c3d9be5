"""The loop and the table of its ends, as the docstring of `Events` draws them, against what an engine does."""

import re

import pytest

from framework.engine import Engine, Events

DRAWING = re.search(r"```\n(.*?)```", Events.__doc__, re.DOTALL).group(1)
ROWS = [
    [cell.strip() for cell in row.strip(" |").split("|")]
    for row in re.findall(r"^ *\|.*\|$", Events.__doc__, re.MULTILINE)
    if "---" not in row and "asked by" not in row
]
IN_ITERATION = [
    Events.GET_BATCH_STARTED,
    Events.DATALOADER_STOP_ITERATION,
    Events.GET_BATCH_COMPLETED,
    Events.ITERATION_STARTED,
    Events.ITERATION_COMPLETED,
]


class BoomError(Exception):
    pass


def drawn_trace(data, max_epochs, epoch_length):
    """Runs the drawing with a `fire` and a `step` that write down what happens."""
    trace = []
    names = {
        "fire": trace.append,
        "step": lambda batch: trace.append(batch),
        "data": data,
        "batches": iter(data),
        "max_epochs": max_epochs,
        "epoch_length": epoch_length,
        "epoch": 0,
        "iteration": 0,
    }
    exec(re.sub(r"^    ", "", DRAWING, flags=re.MULTILINE), names)
    return trace, names["epoch"], names["iteration"]


def ask(engine, request):
    """Makes the request of a row of the table."""
    if "exception" in request:
        raise BoomError
    eval(f"engine.{request}", {"engine": engine})


@pytest.mark.parametrize("max_epochs", [0, 1, 2, 4])
@pytest.mark.parametrize("epoch_length", [1, 2, 3, 5])
@pytest.mark.parametrize("length", [1, 2, 3, 4, 7])
def test_the_drawing_is_the_loop(traced, max_epochs, epoch_length, length):
    engine, trace = traced(lambda engine, batch: trace.append(batch))
    state = engine.run(range(length), max_epochs=max_epochs, epoch_length=epoch_length)
    trace = [entry for entry in trace if entry != "step"]  # the drawing's step writes the batch alone
    assert (trace, state.epoch, state.iteration) == drawn_trace(range(length), max_epochs, epoch_length)


def test_the_table_has_a_row_for_each_request():
    assert [row[0] for row in ROWS] == [
        "terminate()",
        "terminate(skip_completed=True)",
        "terminate_epoch()",
        "terminate_epoch(skip_epoch_completed=True)",
        "interrupt()",
        "an exception, with a handler for it",
    ]


@pytest.mark.parametrize("event", IN_ITERATION)
@pytest.mark.parametrize(("request_", "fires", "then"), ROWS, ids=[row[0] for row in ROWS])
def test_what_a_request_in_an_event_fires(traced, at, event, request_, fires, then):
    engine, trace = traced(lambda engine, batch: trace.append(batch), events=list(Events))
    at(engine, event, lambda engine: ask(engine, request_))
    check_what_follows(engine, trace, event.name, fires.split(", "), then)


@pytest.mark.parametrize(("request_", "fires", "then"), ROWS, ids=[row[0] for row in ROWS])
def test_what_a_request_in_the_step_fires(traced, request_, fires, then):
    def step(engine, batch):
        trace.append(batch)
        if trace.count("step") == 2:
            ask(engine, request_)

    engine, trace = traced(step, events=list(Events))
    completed = [] if "exception" in request_ else ["ITERATION_COMPLETED"]
    check_what_follows(engine, trace, 1, completed + fires.split(", "), then)


def check_what_follows(engine, trace, asked_in, fires, then):
    """Runs the engine and checks what follows the first `asked_in` of its trace: the events `fires`, and what `then` says."""
    data = range(3)
    engine.run(data, max_epochs=2, epoch_length=4)
    after = trace[trace.index(asked_in) + 1 :]
    assert after[: len(fires)] == fires
    rest = after[len(fires) :]
    if then == "the run is over":
        assert rest == []
    elif then == "the next epoch, on fresh batches":
        assert rest[:4] == ["EPOCH_STARTED", "GET_BATCH_STARTED", "GET_BATCH_COMPLETED", "ITERATION_STARTED"]
        assert [entry for entry in rest if isinstance(entry, int)] == [0, 1, 2, 0]
    else:
        assert then == "run() returns; the next run() goes on after this point"
        assert rest == []
        engine.run(data)
        assert "INTERRUPT" in trace
        assert [entry for entry in trace if entry not in ("INTERRUPT", "step")] == drawn_trace(data, 2, 4)[0]


@pytest.mark.parametrize("event", list(Events))
def test_the_drawing_says_what_filters_count(event):
    sentence = re.search(
        r"Filters count epochs for (.*?), and iterations .* the\s+batch and iteration events;", Events.__doc__, re.DOTALL
    )
    by_epoch = re.findall(r"[A-Z_]{5,}", sentence.group(1))
    counted = event.name in by_epoch or event.name.startswith(("GET_BATCH", "ITERATION"))
    counts, engine = [], Engine(lambda engine, batch: None)
    event = event(event_filter=lambda engine, count: counts.append(count) or True)
    if not counted:
        with pytest.raises(ValueError, match="cannot be filtered"):
            engine.add_event_handler(event, lambda: None)
        return
    engine.add_event_handler(
        event, lambda engine: counts.append(engine.state.epoch if event.name in by_epoch else engine.state.iteration)
    )
    engine.run(range(3), max_epochs=2)
    assert counts[::2] == counts[1::2] != []
