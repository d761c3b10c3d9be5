import pytest
import torch
from torch import nn
from torch.nn import functional as F

from framework import AMP, ModuleError, select_backend
from framework.backends import Clip
from framework.backends.report import STEPPED
from framework.steps.returned_loss import ReturnedLoss

CPU = torch.device("cpu")


def step_of(backend, net, optimizers, clip=None, on_stepped=None):
    return ReturnedLoss(
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


def test_bf16_is_the_default_on_the_cpu_and_has_no_scaler():
    backend = AMP(CPU)
    assert (backend.precision, backend.name, backend.scaler.is_enabled(), backend.state_dict()) == ("bf16", "amp", False, {})


def test_fp16_on_the_cpu_warns_that_it_is_slow():
    with pytest.warns(UserWarning, match="fp16 on the CPU is several times slower"):
        backend = select_backend("cpu", "fp16")
    assert backend.scaler.is_enabled()


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("clip", [None, Clip(norm=1.0)])
def test_an_infinite_gradient_skips_the_step_and_halves_the_scale(fp16, net, batches, fused, clip):
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, fused=fused)
    stepped = []
    step = step_of(fp16, net, {"main": optimizer}, clip, on_stepped=lambda name: stepped.append(fp16.scaler.get_scale()))
    before = weights_of(net)
    step.run(None, (*batches[0], float("inf")))
    assert same(before, weights_of(net))
    assert (step.counter.steps, stepped, fp16.scaler.get_scale()) == ({"main": 0}, [], 512.0)
    step.run(None, (*batches[0], 1.0))
    assert not same(before, weights_of(net))
    assert (step.counter.steps, stepped, fp16.scaler.get_scale()) == ({"main": 1}, [512.0], 512.0)


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
    assert step.counter.steps == {"main": 1, "idle": 1}
    assert same(idle_before, weights_of(idle))
    assert not same(before, weights_of(net))


def test_a_window_without_any_gradient_leaves_the_scale(fp16, net):
    assert fp16.apply([torch.optim.SGD(net.parameters(), lr=0.1)]) == [STEPPED]
    assert fp16.scaler.get_scale() == 1024.0


def test_so_does_one_after_a_window_with_gradients_also_clipped(fp16, net, batches):
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    step_of(fp16, net, {"main": optimizer}).run(None, (*batches[0], 1.0))
    optimizer.zero_grad()
    for _ in range(2):
        assert fp16.apply([optimizer], Clip(norm=1.0))[0].stepped
    assert fp16.state_dict()["good_steps"] == 1


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
    assert state["loss_scale"] == 512.0
    second = make_fp16()
    second.load_state_dict(state)
    assert second.state_dict() == state
    second.load_state_dict({})
    assert second.state_dict() == state


def test_a_scale_without_its_native_state_keeps_the_rest_of_the_scaler(fp16):
    fp16.load_state_dict({"loss_scale": 64.0, "good_steps": 5, "native": {"loss_scaler0": {"loss_scale": 64.0, "unskipped": 5}}})
    assert fp16.scaler.state_dict() == {
        **torch.amp.GradScaler("cpu").state_dict(),
        "scale": 64.0,
        "_growth_tracker": 5,
    }


def test_without_a_scaler_a_scale_is_left_out_with_a_warning(make_fp16):
    backend = AMP(CPU, "bf16")
    with pytest.warns(UserWarning, match="^The saved loss scale 1024 is left out: amp in bf16 scales no loss.$"):
        backend.load_state_dict(make_fp16().state_dict())
    assert backend.state_dict() == {}


def test_a_given_scaler_is_used(make_fp16):
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    assert AMP(CPU, "bf16", scaler=scaler).scaler is scaler


class DividesItself(torch.optim.SGD):
    """As FusedAdam(capturable=True) of Apex."""

    def step(self, closure=None, grad_scaler=None):
        super().step(closure)


def test_an_optimizer_that_divides_by_the_scale_itself_is_refused_where_gradients_are_unscaled(fp16, net, batches):
    step = step_of(fp16, net, {"main": DividesItself(net.parameters(), lr=0.1)}, Clip(norm=1.0))
    with pytest.raises(
        ModuleError,
        match=r"^DividesItself divides its gradients by the loss scale itself.*: they would be divided twice\. Use it without "
        r"clip_norm, clip_value and on_optimizer_step_started, or make it without capturable=True\.$",
    ):
        step.run(None, (*batches[0], 1.0))


def test_such_an_optimizer_is_taken_without_a_clip_and_without_a_scaler(fp16, net, batches):
    for backend, clip in ((fp16, None), (AMP(CPU, "bf16"), Clip(norm=1.0))):
        step = step_of(backend, net, {"main": DividesItself(net.parameters(), lr=0.1)}, clip)
        step.run(None, (*batches[0], 1.0))
        assert step.counter.steps == {"main": 1}


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


class Poison(torch.autograd.Function):
    """Passes a tensor on, and spoils its gradient."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return torch.full_like(gradient, float("nan"))


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("clip", [Clip(norm=1.0), Clip(value=1.0)])
def test_optimizers_that_are_clipped_together_are_skipped_together(fp16, net, batches, fused, clip):
    first, last = net[0], net[2]
    optimizers = {
        "first": torch.optim.AdamW(first.parameters(), lr=0.1, fused=fused),
        "last": torch.optim.AdamW(last.parameters(), lr=0.1),
    }
    forward = lambda engine, batch: (last(Poison.apply(first(batch[0]))).mean(), None)  # noqa: E731
    step = ReturnedLoss(fp16, optimizers, forward, clip=clip)
    before = weights_of(net)
    step.run(None, batches[0])
    step.counter.settle()
    assert same(before, weights_of(net))
    assert step.counter.steps == {"first": 0, "last": 0}
    assert fp16.scaler.get_scale() == 512.0


def test_a_backend_whose_run_failed_inside_a_step_serves_the_next(fp16, net, batches):
    class Fails(Watcher):
        def optimizer_step_started(self, optimizer):
            raise KeyError("hook")

    optimizers = {"main": torch.optim.SGD(net.parameters(), lr=0.1)}
    step = step_of(fp16, net, optimizers)
    step.observer = Fails(lambda: None)
    with pytest.raises(KeyError, match="hook"):
        step.run(None, (*batches[0], 1.0))
    fp16.adopt(net, optimizers)
    again = step_of(fp16, net, optimizers, Clip(norm=1.0))
    again.run(None, (*batches[0], 1.0))
    assert again.counter.steps == {"main": 1}
