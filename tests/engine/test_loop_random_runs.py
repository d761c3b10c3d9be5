"""Random runs, stopped at random places, continued and restarted, against a small model of the loop.

The model is a generator of event names. To stop a run is to stop asking it, to go on after an interruption is to ask it again, and
the end of an epoch is an exception thrown into it: what a request means needs no bookkeeping here.
"""

import warnings
from itertools import repeat
from types import SimpleNamespace

import pytest
from hypothesis import given, settings, strategies as st

from framework.engine import Engine, Events
from framework.engine.limits import EmptyDataError

END = object()  # of the data
IN_ITERATION = ["GET_BATCH_STARTED", "DATALOADER_STOP_ITERATION", "GET_BATCH_COMPLETED", "ITERATION_STARTED", "ITERATION_COMPLETED"]
COUNTED_BY_ITERATION = [name for name in IN_ITERATION if name != "DATALOADER_STOP_ITERATION"]
COUNTED_BY_EPOCH = ["STARTED", "EPOCH_STARTED", "EPOCH_COMPLETED", "COMPLETED"]


class BoomError(Exception):
    pass


class EndOfEpoch(Exception):  # noqa: N818  # a request, no error
    pass


def new_model():
    """Returns what the model knows of a run; the fields are those of a `State`."""
    return SimpleNamespace(epoch=0, iteration=0, epoch_length=None, max_epochs=None, max_iters=None, output=None, warnings=0)


def is_done(model):
    if model.max_iters is not None:
        return model.iteration >= model.max_iters
    return model.epoch >= model.max_epochs or (model.epoch_length or 10**9) * model.max_epochs <= model.iteration


def loop(model, data):
    """Yields the names of the events of a run, and "step", as the run goes on."""
    yield "STARTED"
    batches, used_up = None, False
    while not is_done(model) and not (used_up and model.max_iters is not None):
        model.epoch += 1
        yield "EPOCH_STARTED"
        batches = batches or (repeat(None) if data is None else iter(data))
        before = model.iteration
        try:
            while model.iteration - before != model.epoch_length:
                if model.iteration == model.max_iters:
                    yield "TERMINATE"
                    yield "COMPLETED"
                    return
                if data is not None:
                    yield "GET_BATCH_STARTED"
                batch = next(batches, END)
                if batch is END and model.epoch_length is None and model.iteration == 0:
                    raise EmptyDataError("Input data has zero size", data)
                if batch is END and model.epoch_length is None and model.iteration > before:
                    model.epoch_length = model.iteration - before
                    break
                if batch is END:
                    yield "DATALOADER_STOP_ITERATION"
                    batches = iter(data)
                    batch = next(batches, END)
                if batch is END:
                    used_up = True
                    model.warnings += not is_done(model)
                    break
                if data is not None:
                    yield "GET_BATCH_COMPLETED"
                model.iteration += 1
                yield "ITERATION_STARTED"
                model.output = None
                yield "step"
                model.output = batch
                yield "ITERATION_COMPLETED"
        except EndOfEpoch as request:
            batches = None
            yield "TERMINATE_SINGLE_EPOCH"
            if request.args == ("skip",):
                continue
        yield "EPOCH_COMPLETED"
    yield "COMPLETED"


class Modelled:
    """The model's side: runs, and the one request that is made at the `nth` time of an event."""

    def __init__(self, data, request):
        self.trace, self.model, self._data, self._request = [], new_model(), data, request
        self._left, self._under_way = request.nth, None

    def run(self, max_epochs, max_iters, epoch_length):
        model = self.model
        if model.max_epochs is model.max_iters is None:  # told to start from zero
            self._under_way = None
        else:
            model.max_epochs, model.max_iters = max_epochs, max_iters
        if self._under_way is None and (model.max_epochs is model.max_iters is None or is_done(model)):
            length = len(self._data) if hasattr(self._data, "__len__") else None
            model.epoch, model.iteration, model.max_epochs, model.max_iters = 0, 0, max_epochs, max_iters
            model.epoch_length = epoch_length or length
        events, self._under_way = self._under_way or loop(model, self._data), None
        try:
            for event in events:
                self._note(event)
                while self._is_asked(event):
                    event = self._obey(events)  # None where the run is left
                    if event is None:
                        return
        except (BoomError, ValueError) as error:
            self.trace.append(type(error).__name__)

    def _note(self, event):
        self.trace.append((event, self.model.epoch, self.model.iteration, self.model.output))

    def _is_asked(self, event):
        self._left -= event == self._request.event
        if self._left == 0 and event == "step" and self._request.kind != "raise":
            return False  # it waits for the iteration to complete
        return self._left == 0

    def _obey(self, events):
        self._left, kind = -1, self._request.kind
        if kind == "raise":
            raise BoomError
        if kind == "interrupt":
            self._note("INTERRUPT")
            self._under_way = events
            return None
        if kind.startswith("end epoch"):
            event = events.throw(EndOfEpoch(*kind.split()[2:]))
            self._note(event)
            return event
        self._note("TERMINATE")
        if kind == "end":
            self._note("COMPLETED")
        return None


REQUESTS = {
    "end": lambda engine: engine.terminate(),
    "end skip": lambda engine: engine.terminate(skip_completed=True),
    "end epoch": lambda engine: engine.terminate_epoch(),
    "end epoch skip": lambda engine: engine.terminate_epoch(skip_epoch_completed=True),
    "interrupt": lambda engine: engine.interrupt(),
}


def boom(engine):
    raise BoomError


class Real:
    """The engine's side of the same."""

    def __init__(self, call_at, data, request, event, due):
        self.trace, self.due, self.warnings, self._data = [], [], 0, data
        ask = REQUESTS.get(request.kind, boom)
        firings = iter(range(1, 10**6))

        def step(engine, batch):
            note("step")
            if request.event == "step" and next(firings) == request.nth:
                ask(engine)
            return batch

        def note(name):
            state = self.engine.state
            self.trace.append((name, state.epoch, state.iteration, state.output))

        self.engine = Engine(step)
        for name in [event.name for event in Events if event is not Events.EXCEPTION_RAISED]:
            self.engine.add_event_handler(name, note, name)
        self.engine.add_event_handler(event(**due), lambda engine: self.due.append(engine.state.get_event_attrib_value(event)))
        if request.event != "step":
            call_at(self.engine, request.event, ask, request.nth)

    def run(self, max_epochs, max_iters, epoch_length):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                self.engine.run(self._data, max_epochs, epoch_length, max_iters=max_iters)
            except (BoomError, ValueError) as error:
                self.trace.append(type(error).__name__)
        self.warnings += len(caught)


def is_due(count, every=None, once=None, before=None, after=None):
    if once is not None:
        return count in once
    if before is None and after is None:
        return count % every == 0
    return count > (after or 0) and (before is None or count < before) and (count - (after or 0) - 1) % (every or 1) == 0


def counts_in(trace, event):
    """Returns the counter of `event` at each of its firings."""
    return [entry[1 if event.name in COUNTED_BY_EPOCH else 2] for entry in trace if entry[0] == event.name]


numbers = st.integers(1, 5)
due_arguments = st.one_of(
    st.fixed_dictionaries({"every": numbers}),
    st.fixed_dictionaries({"once": st.lists(numbers, min_size=1, max_size=3)}),
    st.fixed_dictionaries({"after": numbers}, optional={"every": numbers, "before": numbers}),
)
times = st.integers(1, 9) | st.just(10**6)  # often the event does not come so often, and then nothing stops the run
requests = st.one_of(
    st.builds(
        SimpleNamespace,
        kind=st.sampled_from(["end", "end skip", "interrupt", "raise"]),
        event=st.sampled_from(["STARTED", "EPOCH_STARTED", *IN_ITERATION, "step", "EPOCH_COMPLETED"]),
        nth=times,
    ),
    st.builds(
        SimpleNamespace,
        kind=st.sampled_from(["end epoch", "end epoch skip"]),
        event=st.sampled_from([*IN_ITERATION, "step"]),
        nth=times,
    ),
)
kinds_of_data = st.sampled_from(["list", "generator function", "iterator", "none"])


@pytest.fixture(scope="session")
def make_data(unsized):
    return lambda kind, length: {
        "list": lambda: list(range(length)),
        "generator function": lambda: unsized(length),
        "iterator": lambda: iter(range(length)),
        "none": lambda: None,
    }[kind]()


@settings(max_examples=1200, deadline=None, derandomize=True, database=None)
@given(
    kind=kinds_of_data,
    length=numbers,
    epoch_length=st.none() | st.integers(1, 7),
    by_iterations=st.booleans(),
    target=st.integers(1, 6),
    request_=requests,
    afterwards=st.lists(st.sampled_from(["again", "more", "from zero"]), max_size=3),
    event=st.sampled_from([Events[name] for name in COUNTED_BY_ITERATION + COUNTED_BY_EPOCH]),
    due=due_arguments,
)
def test_a_run_is_what_the_model_says(
    at, make_data, kind, length, epoch_length, by_iterations, target, request_, afterwards, event, due
):
    if kind == "none":
        epoch_length = epoch_length or length
    if kind == "iterator" and request_.kind != "interrupt":
        epoch_length = epoch_length or length  # else what a broken epoch leaves of the iterator would count as a full one
    modelled = Modelled(make_data(kind, length), request_)
    real = Real(at, make_data(kind, length), request_, event, due)

    for then in ["first", *afterwards]:
        target += 2 * (then == "more")
        if then == "from zero":
            for state in (modelled.model, real.engine.state):
                state.max_epochs = state.max_iters = None
        limits = {"max_epochs": None, "max_iters": 2 * target} if by_iterations else {"max_epochs": target, "max_iters": None}
        modelled.run(**limits, epoch_length=epoch_length)
        real.run(**limits, epoch_length=epoch_length)

        assert real.trace == modelled.trace
        state, model = real.engine.state, modelled.model
        for name in ("epoch", "iteration", "epoch_length", "max_iters", "output"):
            assert getattr(state, name) == getattr(model, name), name
        assert real.warnings == model.warnings
        assert real.due == [count for count in counts_in(modelled.trace, event) if is_due(count, **due)]
