"""The drawn loop is the loop that runs: run as the Python that it is, it gives the same weights and calls the same handlers."""

import ast
import warnings
from collections import Counter

import drawn
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LinearLR, StepLR
from torch.utils.data import DataLoader, TensorDataset

from framework import Events, Schedule, TrainModule, on
from framework.module.drawing.show_loop import draw_loop


class Net(TrainModule):
    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(5)
            self.net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Dropout(0.2), nn.Linear(6, 3))

    def training_step(self, batch):
        x, y = batch
        return F.cross_entropy(self.net(x), y)

    def evaluation_step(self, batch):
        return {"loss": self.training_step(batch)}

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=0.01)


class Halves(Net):
    def configure_optimizers(self):
        return {"first": torch.optim.SGD(self.net[0].parameters(), lr=0.1), "last": torch.optim.Adam(self.net[3].parameters())}


class Yielding(Halves):
    def training_step(self, batch):
        x, y = batch
        yield "first", F.cross_entropy(self.net(x), y)
        yield "last", F.cross_entropy(self.net(x), y) * 2


class Closure(Net):
    def configure_optimizers(self):
        return torch.optim.LBFGS(self.parameters(), lr=0.1, max_iter=3)


class Scheduled(Net):
    def configure_schedulers(self, optimizers, total_steps):
        (optimizer,) = optimizers.values()
        return {"warm": Schedule(LinearLR(optimizer, total_iters=4), every="step"), "drop": StepLR(optimizer, 1, 0.5)}


SCHEDULERS = {
    "LinearLR": lambda optimizer, _: LinearLR(optimizer, total_iters=4),
    "StepLR": lambda optimizer, _: StepLR(optimizer, 1, 0.5),
}


def loader(samples=22, batch_size=4):
    generator = torch.Generator().manual_seed(2)
    data = TensorDataset(torch.randn(samples, 4, generator=generator), torch.randint(3, (samples,), generator=generator))
    return DataLoader(data, batch_size=batch_size, shuffle=True)


RUNS = {
    "plain": (Net, {}),
    "validated": (Net, {"val": True}),
    "validated twice": (Net, {"val": True, "validate_every": Events.STARTED | Events.EPOCH_COMPLETED}),
    "clipped": (Net, {"clip_norm": 0.1, "clip_value": 0.05}),
    "accumulated": (Net, {"accumulate": 4, "clip_norm": 0.1}),
    "bf16": (Net, {"accelerator": "amp", "accumulate": 2}),
    "fp16": (Scheduled, {"precision": "fp16", "clip_norm": 0.1}),
    "ignored NaN": (Net, {"nan": "ignore"}),
    "skipped NaN": (Net, {"nan": "skip"}),
    "skipped NaN, accumulated": (Net, {"nan": "skip", "accumulate": 3}),
    "debug": (Net, {"debug": True}),
    "two optimizers": (Halves, {"clip_norm": 0.1}),
    "two losses": (Yielding, {"clip_norm": 0.1}),
    "two losses, accumulated": (Yielding, {"accumulate": 4, "accelerator": "amp"}),
    "two losses, NaN skipped": (Yielding, {"accumulate": 4, "nan": "skip"}),
    "closure": (Closure, {"clip_norm": 0.5}),
    "schedules": (Scheduled, {}),
    "some iterations": (Net, {"max_epochs": None, "max_iters": 8}),
    "some iterations, accumulated": (Net, {"max_epochs": None, "max_iters": 8, "accumulate": 3}),
    "whole epochs of iterations": (Net, {"max_epochs": None, "max_iters": 12}),
    "epochs before iterations": (Net, {"max_iters": 100}),
    "an epoch of given length": (Net, {"epoch_length": 4, "max_epochs": 4}),
    "limited": (Net, {"limit_train_batches": 3}),
    "left alone": (Net, {"data_order": "loader"}),
    "by sample": (Net, {"data_order": "sample"}),
    "a handler for each fetch": (Net, {"handlers": "tracer"}),
}


@pytest.fixture
def draw():
    """Draws a run; a scaler on the CPU warns of its slowness, as it does in fit."""

    def make(module, train, val=None, **settings):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="fp16 on the CPU")
            text = draw_loop(module, train, val, **settings)
        ast.parse(text)
        return text

    return make


@pytest.mark.filterwarnings("ignore:fp16 on the CPU")
@pytest.mark.parametrize(("kind", "given"), RUNS.values(), ids=RUNS)
def test_the_drawing_trains_to_the_same_bits(kind, given, draw):
    settings = {"max_epochs": 2, "progress": False, "seed": 3, **given}
    val = loader() if settings.pop("val", False) else None
    tracer, by_hand, fitted = drawn.tracer(), kind(), kind()
    if "handlers" in settings:
        settings["handlers"] = [tracer]
    text = draw(by_hand, loader(), val, **settings)
    names = drawn.run(text, by_hand, loader(), val, **SCHEDULERS, tracer=tracer)
    result = fitted.fit(loader(), val, **settings)
    assert names["iteration"] == result.state.iteration
    for name, tensor in fitted.state_dict().items():
        assert torch.equal(by_hand.state_dict()[name], tensor), name
        assert not torch.equal(kind().state_dict()[name], tensor), name  # it has trained


class Marked:
    """Filtered handlers, beside those that a tracer has."""

    def __init__(self):
        self.seen = []

    @on(Events.ITERATION_COMPLETED(every=3))
    def third(self):
        self.seen.append("third")

    @on(Events.ITERATION_STARTED(once=[2, 5]) | Events.EPOCH_COMPLETED(once=2))
    def once(self):
        self.seen.append("once")

    @on(Events.GET_BATCH_COMPLETED(every=2, after=1, before=9) | Events.EPOCH_STARTED(after=1))
    def between(self):
        self.seen.append("between")

    @on(Events.ITERATION_COMPLETED(event_filter=lambda engine, count: count in (4, 7)))
    def chosen(self):
        self.seen.append("chosen")


def traces(draw, module=Net, train=None, val=None, act=None, **settings):
    """Returns what a handler of every event saw, and a filtered one: under fit, and under the drawing."""
    seen = []
    for fits in (True, False):
        tracer, marked = drawn.tracer(), Marked()
        marked.seen = tracer.seen
        tracer.act = act or tracer.act
        given = {"max_epochs": 2, "progress": False, "handlers": [tracer, marked], **settings}
        text, mine = draw(module(), train or loader(), val, **given), module()
        try:
            if fits:
                mine.fit(train or loader(), val, **given)
            else:
                chosen = Marked.chosen._events[0].filter
                drawn.run(text, mine, train or loader(), val, tracer=tracer, marked=marked, function=chosen, **SCHEDULERS)
        except ZeroDivisionError:
            tracer.seen.append("raised")
        seen.append(tracer.seen)
    return seen


TRACED = {
    "plain": {},
    "validated": {"val": loader()},
    "several validations": {"val": {"a": loader(), "b": loader()}, "validate_every": Events.ITERATION_COMPLETED(every=4)},
    "a list": {"train": [next(iter(loader()))] * 3},
    "as much as comes": {"train": lambda: iter([next(iter(loader()))] * 3)},
    "accumulated": {"accumulate": 4, "clip_norm": 1.0},
    "two optimizers": {"module": Halves},
    "two losses": {"module": Yielding},
    "two losses, accumulated": {"module": Yielding, "accumulate": 4},
    "closure": {"module": Closure},
    "NaN skipped": {"nan": "skip"},
    "debug": {"debug": True},
    "some iterations": {"max_epochs": None, "max_iters": 8},
    "an epoch of given length": {"epoch_length": 4, "max_epochs": 4},
    "given length, no data": {"train": None, "epoch_length": 3},
    "limited": {"limit_train_batches": 3},
}


@pytest.mark.parametrize("given", TRACED.values(), ids=TRACED)
def test_handlers_of_every_event_are_called_in_the_order_of_the_drawing(given, draw):
    under_fit, under_drawing = traces(draw, **given)
    assert under_drawing == under_fit
    assert len(under_fit) > 50


def asks(request, hook):
    """Returns what makes the second call of a hook ask for an end."""
    calls = Counter()

    def act(name, engine):
        calls[id(engine), name] += 1
        if name == hook and calls[id(engine), name] == 2:
            getattr(engine, request)()

    return act


@pytest.mark.parametrize("hook", ["on_iteration_completed", "on_loss_computed"])
@pytest.mark.parametrize("request_", ["terminate", "terminate_epoch", "interrupt"])
def test_the_ends_that_are_asked_for_are_those_of_the_drawing(request_, hook, draw):
    under_fit, under_drawing = traces(draw, act=asks(request_, hook))
    assert under_drawing == under_fit
    assert {"terminate_epoch": "on_terminate_single_epoch"}.get(request_, f"on_{request_}") in under_fit


def test_an_exception_takes_the_way_of_the_drawing(draw):
    calls = Counter()

    def act(name, engine):
        calls[id(engine)] += 1
        if calls[id(engine)] == 20:
            raise ZeroDivisionError

    under_fit, under_drawing = traces(draw, act=act)
    assert under_drawing == under_fit
    assert under_fit[-3:] == ["on_exception_raised", "on_closed", "raised"]
