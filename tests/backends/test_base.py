from collections import defaultdict, namedtuple

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence

from framework import Backend, ModuleError, Plain, Recording, SettingError
from framework.backends import Clip, Probe
from framework.backends.feed import Moved
from framework.backends.report import SKIPPED, STEPPED

CPU, META = torch.device("cpu"), torch.device("meta")


def sgd(*parameters):
    return torch.optim.SGD(parameters, lr=1.0)


def parameter(value=0.0, grad=None):
    made = nn.Parameter(torch.tensor([value]))
    made.grad = None if grad is None else torch.tensor([grad])
    return made


class Watcher:
    active = True

    def __init__(self, calls):
        self.calls = calls

    def optimizer_step_started(self, optimizer):
        self.calls.append("started")

    def optimizer_step_completed(self, optimizer):
        self.calls.append("completed")


def test_only_probe_must_be_given():
    class Own(Backend):
        @classmethod
        def probe(cls):
            return Probe(True)

    with pytest.raises(TypeError, match="probe"):
        Backend(CPU)
    own = Own(CPU)
    assert (own.name, own.precision, own.state_dict(), own.reads_cost_nothing) == ("cpu", "fp32", {}, True)
    own.load_state_dict({})
    own.synchronize()
    weight = parameter(1.0, grad=0.25)
    assert own.apply([sgd(weight)]) == [STEPPED]
    assert weight.item() == 0.75


def test_the_order_of_a_step():
    backend = Recording()
    optimizers = [sgd(parameter(grad=1.0)), sgd(parameter(grad=1.0))]
    backend.apply(optimizers, Clip(norm=1.0), Watcher(backend.calls))
    assert backend.calls == [
        *("reduce", "unscale", "started", "unscale", "started"),
        *("step_optimizer", "completed", "step_optimizer", "completed", "end_window"),
    ]


def test_a_step_that_nobody_watches_does_no_more_than_it_must():
    backend = Recording()
    assert backend.apply([sgd(parameter(grad=1.0))]) == [STEPPED]
    assert backend.calls == ["reduce", "step_optimizer", "end_window"]


def test_each_optimizer_has_its_own_report():
    backend = Recording(skipped_steps=(0,))
    first, second = parameter(grad=1.0), parameter(grad=1.0)
    watcher = Watcher([])
    assert backend.apply([sgd(first), sgd(second)], observer=watcher) == [SKIPPED, STEPPED]
    assert (first.item(), second.item()) == (0.0, -1.0)
    assert watcher.calls == ["started", "started", "completed"]
    assert backend.calls[-1] == "end_window"


def test_the_clip_is_over_all_optimizers_together():
    first, second = parameter(grad=3.0), parameter(grad=4.0)
    Plain(CPU).apply([sgd(first), sgd(second)], Clip(norm=1.0))
    assert first.grad.item() == pytest.approx(0.6)
    assert second.grad.item() == pytest.approx(0.8)
    assert first.item() == -first.grad.item()


def test_the_order_of_a_step_with_a_closure():
    backend, weight = Recording(), parameter(grad=2.0)
    losses = iter([torch.tensor(3.0), torch.tensor(2.0)])

    class Twice(torch.optim.SGD):
        def step(self, closure):
            backend.calls.append(closure().item())
            weight.grad.mul_(4)
            backend.calls.append(closure().item())

    report = backend.apply_closure(Twice([weight], lr=1.0), lambda: next(losses), Clip(norm=9.0), Watcher(backend.calls))
    assert backend.calls == ["reduce", "started", "mark_step", 3.0, "reduce", "started", "mark_step", 2.0, "completed"]
    assert (report.called, report.grad_norm) == (True, torch.tensor(2.0))  # of the first evaluation


def test_a_closure_is_all_that_a_plain_step_needs():
    weight = parameter(grad=0.5)
    assert Plain(CPU).apply_closure(sgd(weight), lambda: torch.tensor(1.0)) == STEPPED
    assert weight.item() == -0.5


def test_functions_are_compiled_with_torchs_options():
    compiled = Plain(CPU).compile(lambda x: 2 * x, {"backend": "eager", "fullgraph": True})
    assert compiled(torch.ones(1)).item() == 2.0
    assert compiled._torchdynamo_orig_callable(1) == 2
    with pytest.raises(SettingError, match=r"compile=\{'foo': 1\} holds what torch.compile does not take: .*'foo'"):
        Plain(CPU).compile(lambda x: x, {"foo": 1})


def test_optimizers_made_before_the_model_moved_are_taken_over():
    model = nn.Linear(2, 3)
    optimizer = sgd(model.weight, model.bias)
    backend = Plain(META)
    backend.adopt(model, {"main": optimizer}, backend.place(model))
    assert optimizer.param_groups[0]["params"] == [model.weight, model.bias]


def test_adopt_refuses_parameters_of_others():
    with pytest.raises(ModuleError, match="that is not one of Linear's"):
        Plain(CPU).adopt(nn.Linear(2, 3), {"main": sgd(parameter())})


def test_place_moves_the_model():
    model = nn.Linear(2, 3)
    Plain(META).place(model)
    assert model.weight.device == META


def test_the_cpu_gets_the_data_itself():
    data = [1, 2]
    assert Plain(CPU).feed(data) is data


def test_elsewhere_data_is_moved_by_the_backends_own_move():
    class Doubling(Plain):
        def move(self, batch):
            return super().move(2 * batch)

    (batch,) = Doubling(META).feed([torch.ones(3)])
    assert (batch.device, batch.shape) == (META, (3,))
    assert isinstance(Doubling(META).feed([]), Moved)


class Movable:
    """Has a `to` as Hugging Face's batches do: for a device and nothing else."""

    def __init__(self, device="cpu"):
        self.device = device

    def to(self, device):
        return Movable(device)


def test_objects_that_can_move_are_moved():
    assert Plain(META).move([Movable()])[0].device == META
    assert Plain(META).to_host(Movable(META)).device == "cpu"
    packed = pack_sequence([torch.ones(2), torch.ones(1)])
    assert isinstance(Plain(CPU).to_host(packed), PackedSequence)


def test_to_host_copies_and_detaches():
    weight = nn.Parameter(torch.ones(2))
    tree = defaultdict(list, {"a": [weight], "b": (2 * weight, "text")})
    copy = Plain(CPU).to_host(tree)
    assert not copy["a"][0].requires_grad
    assert not copy["b"][0].requires_grad
    assert copy["b"][1] == "text"
    with torch.no_grad():
        weight.zero_()
    assert torch.equal(copy["a"][0], torch.ones(2))


def test_to_host_keeps_named_tuples():
    Pair = namedtuple("Pair", "x y")
    copy = Plain(CPU).to_host(Pair(torch.ones(1), 2))
    assert type(copy) is Pair
    assert copy.y == 2


def test_reading_is_free_on_the_cpu_only():
    assert Plain(CPU).reads_cost_nothing
    assert not Plain(META).reads_cost_nothing


def test_synchronize_waits_for_the_device(monkeypatch):
    waited = []
    monkeypatch.setattr(torch.accelerator, "synchronize", waited.append)
    Plain(CPU).synchronize()
    Plain(torch.device("cuda:1")).synchronize()
    assert waited == [torch.device("cuda:1")]


def test_one_process_has_nothing_to_do_over_processes():
    backend, net, step = Plain(CPU), nn.Linear(1, 1), object()
    assert (backend.weight, backend.average) == (1.0, None)
    assert backend.count((torch.ones(3, 2), torch.ones(3))) == 3
    assert backend.parallel_step(net, step) is step
    assert backend.inference_step(net, step) is step
