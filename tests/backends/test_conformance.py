"""One suite for every backend: its steps are those of the hand-written loop in the same precision, bit for bit.

On torch_xla, where it is installed, within 1e-6 (`pytest tests/backends/test_conformance.py -k xla`: it has to start before
anything else trains). The fake `apex.amp` casts nothing, so its loop is the one in full precision.
"""

import copy
import importlib.util
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from by_hand import ByHand, ScaledByHand, body_loss, head_loss, loss_of, parts_of

from framework import AMP, XLA, Backend, Plain, Recording
from framework.backends import Clip, Probe
from framework.backends.report import STEPPED
from framework.steps.closure import ClosureStep
from framework.steps.returned_loss import ReturnedLoss
from framework.steps.step import Place
from framework.steps.yielded_losses import YieldedLosses

CPU = torch.device("cpu")
OPTIMIZERS = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.05, momentum=0.9),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=0.01),
    "adamw-fused": lambda parameters: torch.optim.AdamW(parameters, lr=0.01, fused=True),
}
CLIPS = {
    "unclipped": None,
    "norm": Clip(norm=0.1),
    "value": Clip(value=0.01),
    "both": Clip(norm=0.1, value=0.01),
}
each_optimizer = pytest.mark.parametrize("make_optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
each_clip = pytest.mark.parametrize("clip", CLIPS.values(), ids=CLIPS)
clipped_or_not = pytest.mark.parametrize("clip", [None, CLIPS["norm"]], ids=["unclipped", "norm"])


class Own(Backend):
    """As a user would write one: with a step of its own."""

    @classmethod
    def probe(cls):
        return Probe(True)

    def backward(self, loss, optimizers, parameters):
        torch.autograd.backward(loss, inputs=parameters)

    def step_optimizer(self, optimizer):
        optimizer.step()
        return STEPPED


@dataclass(frozen=True)
class Case:
    """A backend, and what the loop by hand needs to be the same.

    Attributes:
        atol: largest difference; 0 for none, bit for bit.
    """

    backend: Backend
    precision: str = "fp32"
    make_scaler: Callable[[], Any] = lambda: torch.amp.GradScaler("cpu", enabled=False)
    atol: float = 0.0

    def assert_same(self, ours, by_hand, what):
        difference = (self.backend.to_host(ours) - by_hand).abs().max()
        assert torch.equal(self.backend.to_host(ours), by_hand) or difference <= self.atol, f"{what}: {difference}"


def xla(request):
    request.getfixturevalue("monkeypatch").setenv("PJRT_DEVICE", "CPU")
    return Case(XLA(), atol=1e-6)


def scaling(init_scale):
    return lambda: torch.amp.GradScaler("cpu", init_scale=init_scale)


CASES = {
    "plain": lambda request: Case(Plain(CPU)),
    "bf16": lambda request: Case(AMP(CPU, "bf16"), "bf16"),
    "fp16": lambda request: Case(request.getfixturevalue("make_fp16")(1024.0), "fp16", scaling(1024.0)),
    "recording": lambda request: Case(Recording()),
    "own": lambda request: Case(Own(CPU)),
    "apex-legacy": lambda request: Case(request.getfixturevalue("make_apex")("legacy"), "fp32", ScaledByHand),
    "apex-modern": lambda request: Case(request.getfixturevalue("make_apex")("modern"), "fp16", scaling(65536.0)),
    "xla": xla,
}
SCALING = ["fp16", "apex-legacy", "apex-modern"]
HAS_XLA = pytest.mark.skipif(importlib.util.find_spec("torch_xla") is None, reason="torch_xla is not installed")


@pytest.fixture(params=[pytest.param(name, marks=HAS_XLA) if name == "xla" else name for name in CASES])
def case(request):
    if request.param == "xla" and request.node.callspec.params.get("make_optimizer") is OPTIMIZERS["adamw-fused"]:
        pytest.skip("torch_xla has no fused optimizers")
    return CASES[request.param](request)


@pytest.fixture
def data(batches):
    return [(x, y, 1.0) for x, y in batches]


class Comparison:
    """A network to train with a step, and a copy of it to train by hand."""

    def __init__(self, case, net, clip):
        self.case, self.net, self.clip = case, net, clip
        self.copy = copy.deepcopy(net)
        self.hand = ByHand(self.copy, case.precision, case.make_scaler(), clip)

    def adopt(self, optimizers):
        """Takes optimizers that were made before the network moved, as users make them."""
        self.case.backend.adopt(self.net, optimizers, self.case.backend.place(self.net))
        return optimizers

    def run(self, step, data, *, cut_short=False):
        self.outputs = [step.run(None, self.case.backend.move(batch)) for batch in data]
        if cut_short:
            step.finish_window()
        step.counter.settle()
        self.steps = step.counter.steps

    def returned(self, optimizer, data, place=None, **options):
        optimizers = self.adopt({"main": optimizer})
        step = ReturnedLoss(self.case.backend, optimizers, self.forward, place=place, clip=self.clip)
        self.run(step, data, **options)

    def yielded(self, optimizers, data, place=None):
        step = YieldedLosses(self.case.backend, self.adopt(optimizers), self.losses, place=place, clip=self.clip)
        self.run(step, data)
        self.outputs = [loss for losses in self.outputs for loss in losses]

    def forward(self, engine, batch):
        loss = loss_of(self.net, batch)
        return loss, loss.detach()

    def losses(self, engine, batch):
        seen = []
        for name, loss_fn in (("body", body_loss), ("head", head_loss)):
            loss = loss_fn(self.net, batch)
            seen.append(loss.detach())
            yield (name,), loss
        return seen

    def assert_the_same(self):
        assert self.steps == self.hand.steps
        for (name, ours), by_hand in zip(self.net.state_dict().items(), self.copy.state_dict().values(), strict=True):
            self.case.assert_same(ours, by_hand, name)
        for number, (ours, by_hand) in enumerate(zip(self.outputs, self.hand.losses, strict=True)):
            self.case.assert_same(ours, by_hand, f"loss {number}")
        state, expected = self.case.backend.state_dict(), self.hand.scaler.state_dict()
        if state:
            assert (state["loss_scale"], state["good_steps"]) == (expected["scale"], expected["_growth_tracker"])
        assert bool(state) is bool(expected)


def place_in(windows, *, last_is_cut=False):
    """Returns what tells a step where each micro-batch stands; of a window that is cut, the step does not know before."""
    places = [Place(index == 0, index == len(window) - 1, len(window)) for window in windows for index in range(len(window))]
    if last_is_cut:
        places[-1] = Place(first=True, last=False, size=len(windows[0]))
    given = iter(places)
    return lambda engine: next(given)


@each_clip
@each_optimizer
def test_one_optimizer(case, net, data, make_optimizer, clip):
    both = Comparison(case, net, clip)
    both.returned(make_optimizer(net.parameters()), data)
    both.hand.returned(make_optimizer(both.copy.parameters()), [[batch] for batch in data])
    both.assert_the_same()
    assert both.steps["main"] > 0


@pytest.mark.parametrize("cut", [False, True], ids=["known", "cut"])
@clipped_or_not
@each_optimizer
def test_accumulation_with_a_short_last_window(case, net, data, make_optimizer, clip, cut):
    windows = [data[:2], data[2:4], data[4:]]
    both = Comparison(case, net, clip)
    both.returned(make_optimizer(net.parameters()), data, place_in(windows, last_is_cut=cut), cut_short=cut)
    both.hand.returned(make_optimizer(both.copy.parameters()), windows)
    both.assert_the_same()


@pytest.mark.parametrize("size", [1, 2])
@clipped_or_not
@each_optimizer
def test_an_optimizer_for_each_yielded_loss(case, net, data, make_optimizer, clip, size):
    windows = [data[:size], data[size : 2 * size]]
    both = Comparison(case, net, clip)
    both.yielded(
        {name: make_optimizer(parameters) for name, parameters in parts_of(net).items()},
        [batch for window in windows for batch in window],
        place_in(windows) if size > 1 else None,
    )
    both.hand.yielded({name: make_optimizer(parameters) for name, parameters in parts_of(both.copy).items()}, windows)
    both.assert_the_same()


@pytest.mark.parametrize("case", SCALING, indirect=True)
@clipped_or_not
@each_optimizer
def test_an_infinite_gradient_skips_a_step(case, net, data, make_optimizer, clip):
    data[2] = (*data[2][:2], float("inf"))
    both = Comparison(case, net, clip)
    both.returned(make_optimizer(net.parameters()), data)
    both.hand.returned(make_optimizer(both.copy.parameters()), [[batch] for batch in data])
    both.assert_the_same()
    assert both.steps["main"] < len(data)
    assert all(parameter.isfinite().all() for parameter in net.parameters())


@pytest.mark.parametrize("case", [name for name in CASES if name not in (*SCALING, "xla")], indirect=True)
@clipped_or_not
def test_an_optimizer_with_a_closure(case, net, data, clip):
    """Not on torch_xla, which would compile each evaluation anew, for many seconds."""
    both = Comparison(case, net, clip)
    optimizers = both.adopt({"main": torch.optim.LBFGS(net.parameters(), lr=0.5, max_iter=4)})
    assert case.backend.takes_closure
    both.run(ClosureStep(case.backend, optimizers, both.forward, nullcontext, clip=clip), data)
    both.hand.closure(torch.optim.LBFGS(both.copy.parameters(), lr=0.5, max_iter=4), data)
    both.assert_the_same()


@pytest.mark.parametrize("case", SCALING, indirect=True)
def test_a_scaler_takes_no_closure(case):
    assert not case.backend.takes_closure
