"""Steps with Apex, on the fakes of fake_apex/ and without a GPU; that their numbers are right is in test_conformance.py."""

import pytest
import torch
from by_hand import ByHand
from torch import nn
from torch.nn import functional as F

from framework import AMP, ModuleError, SettingError, TrainModule
from framework.backends import Clip
from framework.backends.apex import LegacyApex
from framework.steps.returned_loss import ReturnedLoss
from framework.steps.step import Place

CPU = torch.device("cpu")
SMALL_SCALE = {"loss_scale": 1024.0, "good_steps": 0, "native": {}}  # that does not overflow by itself


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.1)


def step_of(backend, net, optimizer=None, **options):
    optimizers = {"main": optimizer or sgd(net.parameters())}
    backend.adopt(net, optimizers, backend.place(net))
    return ReturnedLoss(
        backend, optimizers, lambda engine, batch: (F.mse_loss(net(batch[0]), batch[1]) * batch[2], None), **options
    )


def amp_state(backend):
    state = backend.state_dict()
    return state["loss_scale"], state["good_steps"]


def weights_of(net):
    return torch.cat([parameter.detach().flatten() for parameter in net.parameters()]).clone()


@pytest.fixture
def data(batches):
    return [(x, y, 1.0) for x, y in batches]


@pytest.fixture
def infinite(batches):
    return (*batches[0], float("inf"))


def test_apex_is_initialized_quietly_and_once_for_each_optimizer(make_apex, net, capsys):
    backend, optimizer = make_apex("legacy"), sgd(net.parameters())
    step_of(backend, net, optimizer)
    assert capsys.readouterr().out == ""
    with pytest.raises(RuntimeError, match=r"should only be passed through amp\.initialize once"):
        step_of(backend, net, optimizer)


@pytest.mark.parametrize("clip", [None, Clip(norm=1.0)])
@pytest.mark.parametrize("kind", ["legacy", "modern"])
def test_a_skipped_step_is_noticed_and_the_next_one_is_made(make_apex, net, data, infinite, kind, clip):
    backend, stepped = make_apex(kind), []
    step = step_of(backend, net, clip=clip, on_stepped=stepped.append)
    before = weights_of(net)
    step.run(None, infinite)
    assert torch.equal(weights_of(net), before)
    assert (step.counter.steps, stepped, amp_state(backend)) == ({"main": 0}, [], (32768.0, 0))
    assert step.counter.grad_norms == {}
    step.run(None, data[1])
    assert not torch.equal(weights_of(net), before)
    assert (step.counter.steps, stepped, amp_state(backend)) == ({"main": 1}, ["main"], (32768.0, 1))


@pytest.mark.parametrize("kind", ["legacy", "modern"])
def test_one_infinite_batch_skips_its_whole_window_and_no_other(make_apex, net, data, infinite, kind):
    first, last = Place(first=True, last=False, size=2), Place(first=False, last=True, size=2)
    places = iter([first, last] * 2)
    step = step_of(make_apex(kind), net, place=lambda engine: next(places))
    before = weights_of(net)
    step.run(None, infinite)
    step.run(None, data[1])
    assert (step.counter.steps, torch.equal(weights_of(net), before)) == ({"main": 0}, True)
    step.run(None, data[2])
    step.run(None, data[3])
    assert (step.counter.steps, torch.equal(weights_of(net), before)) == ({"main": 1}, False)


def test_apex_counts_micro_batches_and_torch_steps(make_apex, net, data):
    counted = {}
    for kind in ("legacy", "modern"):
        places = iter([Place(True, False, 2), Place(False, True, 2)])
        backend = make_apex(kind)
        step = step_of(backend, net, place=lambda engine, places=places: next(places))
        backend.load_state_dict(SMALL_SCALE)
        for batch in data[:2]:
            step.run(None, batch)
        counted[kind] = amp_state(backend)
    assert counted == {"legacy": (1024.0, 2), "modern": (1024.0, 1)}


def test_all_optimizers_of_a_loss_are_unscaled_and_skip_together(make_apex, net, data, infinite):
    copied = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    copied.load_state_dict(net.state_dict())
    backend, expected = make_apex("legacy"), sgd(copied.parameters())
    optimizers = {str(number): sgd([parameter]) for number, parameter in enumerate(net.parameters())}
    backend.adopt(net, optimizers)
    step = ReturnedLoss(backend, optimizers, lambda engine, batch: (F.mse_loss(net(batch[0]), batch[1]) * batch[2], None))
    for batch in (data[0], infinite, data[1]):
        step.run(None, batch)
    ByHand(copied, "fp32", torch.amp.GradScaler("cpu", enabled=False), None).returned(expected, [data[:1], data[1:2]])
    assert torch.equal(weights_of(net), weights_of(copied))
    assert step.counter.steps == dict.fromkeys(optimizers, 2)


def test_the_state_of_apex_makes_a_round_trip(make_apex, net, infinite, data):
    backend = make_apex("legacy")
    step = step_of(backend, net)
    for batch in (infinite, data[1], data[2]):
        step.run(None, batch)
    state = backend.state_dict()
    assert state == {"loss_scale": 32768.0, "good_steps": 2, "native": {"loss_scaler0": {"loss_scale": 32768.0, "unskipped": 2}}}
    other = make_apex("legacy")
    step_of(other, net)
    other.load_state_dict({})
    assert amp_state(other) == (65536.0, 0)
    other.load_state_dict(state)
    assert other.state_dict() == state


@pytest.mark.parametrize("make_other", [lambda fp16, modern: fp16, lambda fp16, modern: modern], ids=["amp", "modern"])
def test_a_scale_crosses_between_apex_and_torch(make_apex, fp16, net, make_other):
    other = make_other(fp16, make_apex("modern"))
    other.load_state_dict({"loss_scale": 128.0, "good_steps": 7, "native": {"loss_scaler0": {"loss_scale": 128.0, "unskipped": 7}}})
    assert amp_state(other) == (128.0, 7)
    assert other.state_dict()["native"]["growth_interval"] == 2000


def test_a_scale_crosses_from_torch_to_apex(make_apex, make_fp16, net):
    backend = make_apex("legacy")
    step_of(backend, net)
    backend.load_state_dict(make_fp16(256.0).state_dict())
    assert amp_state(backend) == (256.0, 0)


@pytest.mark.parametrize(("kind", "opt_level"), [("legacy", "O0"), ("legacy", "O3"), ("modern", "O0")])
def test_levels_without_a_scale_have_no_state_and_warn_of_one(make_apex, net, kind, opt_level):
    backend = make_apex(kind, opt_level)
    step_of(backend, net)
    assert backend.state_dict() == {}
    backend.load_state_dict({})
    with pytest.warns(UserWarning, match="The saved loss scale 512 is left out: .* scales no loss"):
        backend.load_state_dict({"loss_scale": 512.0, "good_steps": 3, "native": {}})
    assert backend.state_dict() == {}


def test_fused_optimizers_are_used_as_given(make_apex, net, data):
    backend = make_apex("modern")
    from apex.optimizers import FusedSGD

    step = step_of(backend, net, FusedSGD(net.parameters(), lr=0.1))
    backend.load_state_dict(SMALL_SCALE)
    step.run(None, data[0])
    step.run(None, data[1])
    assert step.counter.steps == {"main": 2}


def test_one_that_takes_the_scaler_is_refused_with_a_clip(make_apex, net, data):
    backend = make_apex("modern")
    from apex.optimizers import CapturableAdam

    step = step_of(backend, net, CapturableAdam(net.parameters()), clip=Clip(norm=1.0))
    with pytest.raises(
        ModuleError, match=r"CapturableAdam divides its gradients by the loss scale itself.*without capturable=True"
    ):
        step.run(None, data[0])


class Line(TrainModule):
    def __init__(self, make_optimizer=sgd):
        super().__init__()
        self.net = nn.Linear(4, 1)
        self.make_optimizer = make_optimizer

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch):
        x, y = batch
        return 0.1 * F.mse_loss(self(x), y)  # small enough for the scale at the beginning

    def configure_optimizers(self):
        return self.make_optimizer(self.parameters())


@pytest.mark.parametrize(
    ("kind", "opt_level", "tolerance"),
    [("legacy", "O1", 0.0), ("legacy", "O2", 1e-3), ("modern", "O1", 1e-3), ("modern", "O0", 0.0)],
)
def test_a_whole_run(make_apex, batches, kind, opt_level, tolerance):
    line, plain, backend = Line(), Line(), make_apex(kind, opt_level)
    plain.load_state_dict(line.state_dict())
    settings = {"max_epochs": 2, "accumulate": 2, "clip_norm": 0.05, "progress": False}
    result = line.fit(batches, accelerator=backend, **settings)
    plain.fit(batches, accelerator="cpu", **settings)
    assert result.status == "completed"
    assert result.state.optimizer_steps == {"main": 6}
    torch.testing.assert_close(weights_of(line).float(), weights_of(plain), rtol=0, atol=tolerance)


def test_a_run_with_a_closure_is_refused(make_apex, batches):
    with pytest.raises(SettingError, match="which the gradient scaler of apex in fp16 does not allow"):
        Line(torch.optim.LBFGS).fit(batches, max_epochs=1, accelerator=make_apex("modern"), progress=False)


def test_without_adopt_the_caller_has_initialized(install_apex, net, data):
    install_apex("legacy")
    from apex import amp

    optimizer = sgd(net.parameters())
    with pytest.warns(FutureWarning, match="deprecated"):
        amp.initialize(net, [optimizer], verbosity=0)
    before = weights_of(net)
    step = ReturnedLoss(LegacyApex(CPU), {"main": optimizer}, lambda engine, batch: (F.mse_loss(net(batch[0]), batch[1]), None))
    step.run(None, data[0])
    assert not torch.equal(weights_of(net), before)
    assert step.counter.steps == {"main": 1}


def test_modern_is_torch_amp_in_fp16_bit_for_bit(make_apex, make_fp16, net, data):
    copied = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    copied.load_state_dict(net.state_dict())
    amp = make_fp16(65536.0)
    assert type(amp) is AMP
    for backend, model in ((make_apex("modern"), net), (amp, copied)):
        step = step_of(backend, model)
        for batch in data:
            step.run(None, batch)
    assert torch.equal(weights_of(net), weights_of(copied))
