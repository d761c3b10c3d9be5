import pytest
import torch
from torch import nn
from torch.nn import functional as F

from framework import AMP, ModuleError, select_backend
from framework.backends import Clip
from framework.backends.amp import best_precision
from framework.backends.step import TrainingStep

CPU = torch.device("cpu")


def step_of(backend, net, optimizers, clip=None, on_stepped=None):
    return TrainingStep(
        backend,
        optimizers,
        lambda engine, batch: (F.mse_loss(net(batch[0]), batch[1]) * batch[2], None),
        clip=clip,
        on_stepped=on_stepped,
    )


def weights_of(net):
    return [parameter.detach().clone() for parameter in net.parameters()]


def same(first, second):
    return all(torch.equal(*pair) for pair in zip(first, second, strict=True))


def test_the_forward_pass_runs_in_the_lower_precision():
    for precision, dtype in (("bf16", torch.bfloat16), ("fp16", torch.float16)):
        backend = AMP.__new__(AMP)
        backend.device, backend.precision = CPU, precision
        forward = backend.autocast(lambda x: x @ x)
        assert forward(torch.ones(2, 2)).dtype is dtype
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype is torch.float32


def test_bf16_is_the_default_on_the_cpu_and_has_no_scaler():
    backend = AMP(CPU)
    assert (backend.precision, backend.name, backend.scaler.is_enabled(), backend.state_dict()) == ("bf16", "amp", False, {})
    assert best_precision(CPU) == "bf16"
    assert best_precision(torch.device("mps")) == "fp16"


@pytest.mark.parametrize(("native", "precision"), [(True, "bf16"), (False, "fp16")])
def test_cuda_takes_bf16_only_where_it_is_native(monkeypatch, native, precision):
    asked = []
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: asked.append(including_emulation) or native)
    assert best_precision(torch.device("cuda")) == precision
    assert asked == [False]


def test_fp16_on_the_cpu_warns_that_it_is_slow():
    with pytest.warns(UserWarning, match="fp16 on the CPU is several times slower"):
        backend = select_backend("cpu", "fp16")
    assert backend.scaler.is_enabled()


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("clip", [None, Clip(norm=1.0)])
def test_an_infinite_gradient_skips_the_step_and_halves_the_scale(fp16, net, batches, fused, clip):
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, fused=fused)
    stepped = []
    step = step_of(fp16, net, {"main": optimizer}, clip, on_stepped=lambda: stepped.append(fp16.scaler.get_scale()))
    before = weights_of(net)
    step.run(None, (*batches[0], float("inf")))
    assert same(before, weights_of(net))
    assert (step.steps, stepped, fp16.scaler.get_scale()) == ({"main": 0}, [], 512.0)
    step.run(None, (*batches[0], 1.0))
    assert not same(before, weights_of(net))
    assert (step.steps, stepped, fp16.scaler.get_scale()) == ({"main": 1}, [512.0], 512.0)


class Watcher:
    active = True

    def __init__(self, look):
        self.look = look
        self.seen = []

    def loss_computed(self, loss):
        self.seen.append(("loss_computed", loss.item()))

    def backward_completed(self):
        self.seen.append(("backward_completed", self.look()))

    def optimizer_step_started(self, optimizer):
        self.seen.append(("optimizer_step_started", self.look()))

    def optimizer_step_completed(self, optimizer):
        self.seen.append(("optimizer_step_completed", self.look()))


def test_gradients_are_unscaled_before_the_hook_and_the_clip(fp16, net, batches):
    step = step_of(fp16, net, {"main": torch.optim.SGD(net.parameters(), lr=0.1)}, Clip(norm=0.01))
    step.observer = Watcher(lambda: torch.cat([p.grad.flatten() for p in net.parameters()]).norm().item())
    step.run(None, (*batches[0], 1.0))
    (_, loss), (_, scaled), (_, true), (last, clipped) = step.observer.seen
    assert last == "optimizer_step_completed"
    assert scaled == pytest.approx(1024 * true, rel=1e-6)
    assert clipped == pytest.approx(0.01, rel=1e-3)
    assert true > 0.01
    assert loss > 0


def test_a_skipped_step_is_not_told_as_completed(fp16, net, batches):
    step = step_of(fp16, net, {"main": torch.optim.SGD(net.parameters(), lr=0.1)})
    step.observer = Watcher(lambda: None)
    step.run(None, (*batches[0], float("inf")))
    assert [name for name, _ in step.observer.seen] == ["loss_computed", "backward_completed", "optimizer_step_started"]


def test_an_optimizer_without_gradients_steps_as_it_does_in_full_precision(fp16, net, batches):
    idle = nn.Linear(2, 2)
    optimizers = {"main": torch.optim.SGD(net.parameters(), lr=0.1), "idle": torch.optim.SGD(idle.parameters(), lr=0.1)}
    step = step_of(fp16, net, optimizers)
    before, idle_before = weights_of(net), weights_of(idle)
    step.run(None, (*batches[0], 1.0))
    assert step.steps == {"main": 1, "idle": 1}
    assert same(idle_before, weights_of(idle))
    assert not same(before, weights_of(net))


def test_a_window_without_any_gradient_leaves_the_scale(fp16, net):
    assert fp16.apply([torch.optim.SGD(net.parameters(), lr=0.1)]) is True
    assert fp16.scaler.get_scale() == 1024.0


def test_several_optimizers_share_one_update_of_the_scale(fp16, net, batches):
    optimizers = {str(i): torch.optim.SGD([parameter], lr=0.1) for i, parameter in enumerate(net.parameters())}
    step = step_of(fp16, net, optimizers)
    before = weights_of(net)
    step.run(None, (*batches[0], float("inf")))
    assert fp16.scaler.get_scale() == 512.0
    assert same(before, weights_of(net))


def test_the_state_makes_a_round_trip(make_fp16, net, batches):
    first = make_fp16()
    step_of(first, net, {"main": torch.optim.SGD(net.parameters(), lr=0.1)}).run(None, (*batches[0], float("inf")))
    state = first.state_dict()
    assert state["scale"] == 512.0
    second = make_fp16()
    second.load_state_dict(state)
    assert second.state_dict() == state
    second.load_state_dict({})
    assert second.state_dict() == state


def test_parameters_in_fp16_are_refused(fp16, net):
    net.half()
    with pytest.raises(ModuleError, match=r"Optimizer 'main' holds a parameter of shape \(8, 4\) in float16.*Remove .half\(\)"):
        fp16.adopt(net, {"main": torch.optim.SGD(net.parameters(), lr=0.1)})


def test_the_hook_that_notices_a_step_is_removed(fp16, net, batches):
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    step_of(fp16, net, {"main": optimizer}).run(None, (*batches[0], 1.0))
    assert len(optimizer._optimizer_step_post_hooks) == 0


def test_probe():
    assert AMP.probe().ok
