import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from waiting_device import Device

from framework import AMP, Norms, SettingError, TrainModule


class Net(TrainModule):
    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(7)
            self.first, self.last = nn.Linear(4, 3), nn.Linear(3, 1)
        self.scale = nn.Parameter(torch.ones(1))

    def training_step(self, batch):
        return F.mse_loss(self.last(self.first(batch)) * self.scale, batch.sum(1, keepdim=True))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.fixture
def batches():
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(8, 4, generator=generator) for _ in range(6)]


def norm(tensors):
    return math.sqrt(sum(float(tensor.detach().double().square().sum()) for tensor in tensors))


class Seen:
    """Computes by hand what is to be measured at each step."""

    def __init__(self):
        self.gradients, self.parameters = [], []

    def on_optimizer_step_started(self, optimizer):
        held = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        self.gradients.append(norm(parameter.grad for parameter in held if parameter.grad is not None))
        self.parameters.append(norm(held))


def fit(module, batches, norms, *handlers, **settings):
    return module.fit(batches, handlers=[norms, *handlers], progress=False, **{"max_epochs": 1, "log_every": 1, **settings})


def curve(result, name):
    return {point.iteration: point.value for point in result.series.get(f"train/{name}", ())}


def close(values):
    return pytest.approx(values, rel=1e-5)


@pytest.mark.parametrize("settings", [{}, {"clip_norm": 1e-3}])
def test_norms_before_the_step_and_before_the_clip(batches, settings):
    seen = Seen()
    result = fit(Net(), batches, Norms(every=1), seen, **settings)
    assert list(curve(result, "grad_norm").values()) == close(seen.gradients)
    assert list(curve(result, "param_norm").values()) == close(seen.parameters)
    assert set(result.metrics) == {"train/loss"}


def test_gradients_have_their_true_size_under_a_scaler(batches):
    with pytest.warns(UserWarning, match="fp16 on the CPU"):
        backend = AMP(torch.device("cpu"), "fp16")
    backend.scaler = torch.amp.GradScaler("cpu", init_scale=256.0)
    scaled = fit(Net(), batches[:1], Norms(every=1), accelerator=backend)
    plain = fit(Net(), batches[:1], Norms(every=1))
    assert curve(scaled, "grad_norm")[1] == pytest.approx(curve(plain, "grad_norm")[1], rel=0.02)


def test_every_few_iterations_also_with_windows_that_do_not_fit(batches):
    assert list(curve(fit(Net(), batches * 4, Norms(every=10)), "grad_norm")) == [10, 20]
    assert list(curve(fit(Net(), batches * 4, Norms(every=10), accumulate=3), "grad_norm")) == [12, 21]


def test_a_point_has_the_newest_measurement_and_only_one_since_the_point_before(batches):
    seen = Seen()
    result = fit(Net(), batches * 2, Norms(every=3), seen, log_every=4)
    assert curve(result, "grad_norm") == close({4: seen.gradients[2], 8: seen.gradients[5], 12: seen.gradients[11]})
    assert list(curve(fit(Net(), batches * 2, Norms(every=6), log_every=2), "grad_norm")) == [6, 12]


def test_several_optimizers(batches):
    class Pair(Net):
        def training_step(self, batch):
            yield "a", self.first(batch).square().mean()
            yield "b", self.last(self.first(batch).detach()).square().mean()

        def configure_optimizers(self):
            return {"a": torch.optim.SGD(self.first.parameters(), lr=0.1), "b": torch.optim.SGD(self.last.parameters(), lr=0.1)}

    seen = Seen()
    result = fit(Pair(), batches, Norms(every=1, layers=True), seen)
    assert list(curve(result, "grad_norm/a").values()) == close(seen.gradients[::2])
    assert list(curve(result, "param_norm/b").values()) == close(seen.parameters[1::2])
    assert curve(result, "layer_grad_norm/b/last") == curve(result, "grad_norm/b")


def test_each_layer(batches):
    result = fit(Net(), batches[:1], Norms(every=1, layers=True))
    by_hand = Net()
    by_hand.training_step(batches[0]).backward()
    layers = {"first": by_hand.first.parameters(), "last": by_hand.last.parameters(), "scale": [by_hand.scale]}
    for name, own in layers.items():
        own = list(own)
        assert curve(result, f"layer_grad_norm/{name}")[1] == close(norm(each.grad for each in own))
        assert curve(result, f"layer_param_norm/{name}")[1] == close(norm(own))
    assert {name for name in result.series if "layer" in name} == {
        f"train/layer_{kind}_norm/{name}" for kind in ("grad", "param") for name in layers
    }


def test_parameters_that_the_module_does_not_have_are_one_layer(batches):
    norms, module = Norms(layers=True), Net()
    copy = nn.Parameter(torch.tensor([3.0, 4.0]))
    found = norms._measure(torch.optim.SGD([copy], lr=0.1), "", module)
    assert {name: value.item() for name, value in found.items()} == {
        "grad_norm": 0.0,
        "param_norm": 5.0,
        "layer_param_norm/other": 5.0,
    }


def test_sparse_complex_and_short_numbers():
    table = nn.Embedding(4, 2, sparse=True)
    F.mse_loss(table(torch.tensor([1, 1])), torch.zeros(2, 2), reduction="sum").backward()
    turn = nn.Parameter(torch.tensor([3 + 4j]))
    turn.abs().sum().backward()
    half = nn.Parameter(torch.full((4,), 2.0, dtype=torch.bfloat16))
    half.sum().backward()
    long = nn.Parameter(torch.full((4,), 2.0, dtype=torch.float64))
    held = [table.weight, turn, half, long]
    found = Norms()._measure(torch.optim.SGD(held, lr=0.1), "", nn.Module())
    dense = norm([table.weight.grad.to_dense()])
    assert found["grad_norm"].item() == close(math.sqrt(dense**2 + 1 + 4))
    assert found["param_norm"].item() == close(math.sqrt(norm([table.weight]) ** 2 + 25 + 16 + 16))


def test_a_closure_that_is_called_several_times_is_measured_once(batches):
    class Module(Net):
        def configure_optimizers(self):
            return torch.optim.LBFGS(self.parameters(), max_iter=4)

    seen = Seen()
    result = fit(Module(), batches[:1], Norms(every=1), seen)
    assert len(seen.gradients) > 1
    assert curve(result, "grad_norm") == close({1: seen.gradients[0]})


def test_no_step_reads_off_the_device(batches, monkeypatch):
    calls = []
    for name in ("item", "tolist", "__float__", "__bool__", "__int__", "cpu"):
        original = getattr(torch.Tensor, name)
        monkeypatch.setattr(torch.Tensor, name, lambda *args, _o=original, _n=name, **kw: calls.append(_n) or _o(*args, **kw))
    fit(Net(), batches * 2, Norms(every=1, layers=True), log_every=6, accelerator=Device())
    assert calls == ["tolist"] * 4  # the losses and the norms, at two points


def test_a_run_trains_the_same_with_it(batches):
    plain, measured = Net(), Net()
    fit(measured, batches, Norms(every=2, layers=True), accumulate=2, clip_norm=0.5)
    plain.fit(batches, max_epochs=1, accumulate=2, clip_norm=0.5, progress=False)
    assert all(torch.equal(value, measured.state_dict()[name]) for name, value in plain.state_dict().items())


def test_the_same_object_measures_another_run(batches):
    norms = Norms(every=4)
    curves = [curve(fit(Net(), batches, norms, log_every=3), "grad_norm") for _ in range(2)]
    assert curves[0] == curves[1]
    assert list(curves[0]) == [6]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"every": 0}, "every=0: every should be a whole number of at least 1 (iterations)."),
        ({"every": 1.5}, "every=1.5: every should be a whole number of at least 1 (iterations)."),
        ({"every": True}, "every=True: every should be a whole number of at least 1 (iterations)."),
        ({"layers": 1}, "layers=1: layers should be True or False, got int."),
    ],
)
def test_settings_are_checked_when_it_is_made(settings, message):
    with pytest.raises(SettingError) as error:
        Norms(**settings)
    assert str(error.value) == message
