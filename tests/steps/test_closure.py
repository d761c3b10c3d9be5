from contextlib import contextmanager

import torch
from torch import nn
from torch.nn import functional as F

from framework import Plain, Recording
from framework.backends import Clip
from framework.steps.closure import ClosureStep
from framework.steps.update import SummedLoss


def network():
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 1))


def batches():
    generator = torch.Generator().manual_seed(1)
    return [(torch.randn(8, 4, generator=generator), torch.randn(8, 1, generator=generator)) for _ in range(3)]


def step_of(net, backend, calls, clip=None, summed=False, **options):
    """Makes a step that writes each computation of the loss into `calls`: "first", or "again"."""
    optimizer = torch.optim.LBFGS(net.parameters(), max_iter=4, **options)

    repeating = []

    def forward(engine, batch):
        calls.append("again" if repeating else "first")
        if summed:
            return SummedLoss(F.mse_loss(net(batch[0]), batch[1], reduction="sum"), 8.0), "output"
        return F.mse_loss(net(batch[0]), batch[1]), "forgotten" if repeating else "output"

    @contextmanager
    def again():
        repeating.append(True)
        yield
        repeating.clear()

    return ClosureStep(backend, {"main": optimizer}, forward, again, clip=clip)


def by_hand(net, clip=None, **options):
    optimizer = torch.optim.LBFGS(net.parameters(), max_iter=4, **options)
    for x, y in batches():

        def closure(x=x, y=y):
            optimizer.zero_grad()
            loss = F.mse_loss(net(x), y)
            loss.backward()
            if clip is not None:
                nn.utils.clip_grad_norm_(net.parameters(), clip)
            return loss

        optimizer.step(closure)
    return net


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_lbfgs_steps_as_in_the_hand_written_loop():
    for clip in (None, 0.1):
        for options in ({}, {"line_search_fn": "strong_wolfe"}):
            net, calls = network(), []
            step = step_of(net, Plain(torch.device("cpu")), calls, None if clip is None else Clip(norm=clip), **options)
            outputs = [step.run(None, batch) for batch in batches()]
            assert same(net, by_hand(network(), clip, **options))
            assert not same(net, network())
            assert outputs == ["output"] * 3
            assert calls.count("first") == 3
            assert calls.count("again") >= 3
            assert step.counter.steps == {"main": 3}


def test_a_summed_loss_is_divided_by_its_count():
    net = network()
    step = step_of(net, Plain(torch.device("cpu")), [], summed=True)
    for batch in batches():
        step.run(None, batch)
    for one, other in zip(net.parameters(), by_hand(network()).parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_every_call_is_reduced_clipped_and_marked(watcher):
    backend, calls = Recording(), []
    step = step_of(network(), backend, calls, Clip(norm=1.0))
    step.observer = watcher
    step.run(None, batches()[0])
    each = ["micro, last", "backward", "micro ends", "reduce", "mark_step"]
    assert backend.calls == each * len(calls) + ["mark_step"]
    told = [name for name in watcher.seen if isinstance(name, str)]
    assert told == ["backward_completed", "optimizer_step_started"] * len(calls) + ["optimizer_step_completed"]
    assert step.counter.grad_norms["main"] > 0


def test_there_is_no_window_to_finish():
    step = step_of(network(), Recording(), [])
    step.finish_window()
    assert step.counter.steps == {"main": 0}


def test_over_processes_the_optimizer_goes_by_their_mean():
    for summed in (False, True):
        backend, values = Recording(), []

        def average(value, values=values):
            values.append(value)
            return value

        net, calls = network(), []
        backend.weight, backend.average = 0.5, average
        step = step_of(net, backend, calls, summed=summed)
        step.run(None, batches()[0])
        assert not same(net, network())
        if not summed:
            loss = F.mse_loss(network()(batches()[0][0]), batches()[0][1])
            assert values[0] == loss * 0.5
            assert len(values) == len(calls)
            assert not values[0].requires_grad
        else:
            assert values[0::3] == [8.0] * len(calls)  # of the update
            assert values[2::3] == [8.0] * len(calls)
