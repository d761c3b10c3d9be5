"""What a dry run sees of a step: calls of layers, samples, seconds, bytes."""

import pytest
import torch
from torch import nn

from framework.backends.plain import Plain
from framework.engine import Engine
from framework.module.trial.measurement import Meter, is_opaque, seen_parts

CPU = torch.device("cpu")


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.shared = nn.Linear(4, 4)
        self.pair = Pair()
        self.unused = nn.Linear(4, 4)

    def forward(self, x):
        return self.pair(self.shared(self.shared(x)), scale=torch.ones(()))


class Pair(nn.Module):
    def forward(self, x, scale=None):
        return {"sum": x.sum(), "parts": (x, None)}


@pytest.fixture
def module():
    return Twice()


@pytest.fixture
def backend():
    return Plain(CPU)


def step_of(module, backend):
    def step(engine, batch):
        loss = module(batch)["sum"]
        if backend.backward is None:
            loss.backward()
        else:
            backend.backward(loss, (), None)
        return loss.detach()

    return step


def metered(module, backend, batches, *, step=None, sees_layers=True):
    meter = Meter(module, backend, sees_layers=sees_layers)
    engine = Engine(step or step_of(module, backend))
    evaluation = Engine(lambda engine, batch: module(batch))
    meter.attach(engine, [("val", evaluation)])
    engine.run(batches)
    evaluation.run(batches[:1])
    return meter.found


def test_the_calls_of_the_first_step_are_noted(module, backend):
    found = metered(module, backend, [torch.ones(3, 4), torch.ones(5, 4)])
    assert set(found.calls) == {module, module.shared, module.pair}
    shared, pair = found.calls[module.shared], found.calls[module.pair]
    assert (shared.given, shared.returned, shared.count) == ("float32 (3, 4)", "float32 (3, 4)", 2)
    assert pair.given == "float32 (3, 4), scale=float32 ()"
    assert pair.returned == "{sum: float32 (), parts: (float32 (3, 4), None)}"
    assert found.calls[module].count == 1


def test_batches_samples_seconds_and_bytes_are_added_up(module, backend):
    found = metered(module, backend, [torch.ones(3, 4), torch.ones(5, 4)])
    assert (found.batch, found.batches, found.samples) == ("float32 (3, 4)", 2, 8)
    assert found.step_s >= found.backward_s > 0
    assert found.data_s > 0
    assert found.peak is None
    assert found.kept == 5 * 4 * 4  # the input of the second call; the larger of both steps
    assert found.evaluations["val"][:2] == ("float32 (3, 4)", 3)


def test_layers_are_not_watched_where_they_cannot_be_seen(module, backend):
    found = metered(module, backend, [torch.ones(3, 4)], sees_layers=False)
    assert found.calls == {}
    assert found.batches == 1


def test_nothing_is_left_on_the_layers_or_the_backend(module, backend):
    metered(module, backend, [torch.ones(3, 4)])
    assert not any(part._forward_hooks for part in module.modules())
    assert backend.backward is None
    assert "backward" not in vars(backend)


def test_nothing_is_left_after_an_error_either(module, backend):
    def step(engine, batch):
        module(batch)
        raise OverflowError("here")

    with pytest.raises(OverflowError, match="here"):
        metered(module, backend, [torch.ones(3, 4)], step=step)
    assert not any(part._forward_hooks for part in module.modules())
    assert "backward" not in vars(backend)


def test_a_backend_with_a_backward_of_its_own_keeps_it(module, backend):
    seen = []

    def backward(loss, optimizers, parameters):
        seen.append(loss)
        loss.backward(inputs=parameters)

    backend.backward = backward
    found = metered(module, backend, [torch.ones(3, 4)])
    assert len(seen) == 1
    assert found.kept == 3 * 4 * 4
    assert backend.backward is backward


def test_what_is_inside_of_compiled_and_scripted_layers_is_not_seen(module):
    assert seen_parts(module) == set(module.modules())
    module.pair._compiled_call_impl = lambda: None
    module.wrapped = nn.Sequential(nn.Linear(2, 2))
    module.wrapped._orig_mod = module.wrapped[0]
    assert is_opaque(module.pair)
    assert is_opaque(module.wrapped)
    assert seen_parts(module) == {module, module.shared, module.unused}


def test_a_step_that_the_user_has_compiled_is_left_as_it_is(module, backend):
    found = metered(module, backend, [torch.ones(3, 4)], step=torch.compile(lambda engine, batch: module(batch), backend="eager"))
    assert found.calls == {}
    assert found.batches == 1


def test_a_cuda_device_is_asked_for_its_peak(module, backend, monkeypatch):
    asked = []
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: asked.append("reset"))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: asked.append("read") or 2**20)
    monkeypatch.setattr(backend, "synchronize", lambda: None)
    backend.device = torch.device("cuda")
    found = metered(module, backend, [torch.ones(3, 4), torch.ones(3, 4)])
    assert asked == ["reset", "read", "read"]
    assert found.peak == 2**20
