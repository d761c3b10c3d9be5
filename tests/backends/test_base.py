from collections import defaultdict, namedtuple

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence

from framework import Backend, ModuleError, Plain, Recording
from framework.backends import Clip, Probe
from framework.backends.base import clip_gradients, parameters_of

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
    assert own.apply([sgd(weight)]) is True
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
    assert backend.apply([sgd(parameter(grad=1.0))]) is True
    assert backend.calls == ["reduce", "step_optimizer", "end_window"]


def test_one_skipped_optimizer_makes_the_step_no_step():
    backend = Recording(skipped_steps=(0,))
    first, second = parameter(grad=1.0), parameter(grad=1.0)
    watcher = Watcher([])
    assert backend.apply([sgd(first), sgd(second)], observer=watcher) is False
    assert (first.item(), second.item()) == (0.0, -1.0)
    assert watcher.calls == ["started", "started", "completed"]
    assert backend.calls[-1] == "end_window"


def test_the_clip_is_over_all_optimizers_together():
    first, second = parameter(grad=3.0), parameter(grad=4.0)
    Plain(CPU).apply([sgd(first), sgd(second)], Clip(norm=1.0))
    assert first.grad.item() == pytest.approx(0.6)
    assert second.grad.item() == pytest.approx(0.8)
    assert first.item() == -first.grad.item()


def test_the_norm_is_limited_before_the_entries():
    one, other = parameter(grad=3.0), parameter(grad=4.0)
    clip_gradients([one, other], Clip(norm=1.0, value=0.7))
    assert one.grad.item() == pytest.approx(0.6)
    assert other.grad.item() == pytest.approx(0.7)
    clip_gradients([one, other], Clip())
    assert other.grad.item() == pytest.approx(0.7)


def test_a_parameter_of_two_optimizers_counts_once():
    shared, own = parameter(), parameter()
    assert list(parameters_of([sgd(own, shared), sgd(shared)])) == [own, shared]


def test_adopt_refuses_parameters_of_others():
    model = nn.Linear(2, 3)
    foreign = torch.optim.Adam([*model.parameters(), nn.Parameter(torch.ones(5, 2))])
    with pytest.raises(
        ModuleError, match=r"Optimizer 'main' \(Adam\) holds a parameter of shape \(5, 2\) that is not one of Linear's"
    ):
        Plain(CPU).adopt(model, {"main": foreign})
    with pytest.raises(ModuleError, match=r"from self\.parameters\(\).*use nn\.ModuleList"):
        Plain(CPU).adopt(model, {"main": foreign})


def test_adopt_refuses_parameters_elsewhere():
    model = nn.Linear(2, 3, device="meta")
    with pytest.raises(ModuleError, match=r"holds a parameter on meta, the step runs on cpu. Leave moving to fit"):
        Plain(CPU).adopt(model, {"main": torch.optim.SGD(model.parameters(), lr=0.1)})


def test_adopt_takes_what_is_right():
    model = nn.Linear(2, 3)
    Plain(CPU).adopt(model, {"a": sgd(model.weight), "b": sgd(model.bias)})


def test_place_moves_the_model():
    model = nn.Linear(2, 3)
    Plain(META).place(model)
    assert model.weight.device == META


def test_the_cpu_gets_the_data_itself():
    data = [1, 2]
    assert Plain(CPU).feed(data) is data


def test_elsewhere_each_batch_is_moved_as_it_is_fetched():
    pulled = []

    def batches():
        for index in range(3):
            pulled.append(index)
            yield torch.ones(2), {"y": [torch.ones(1)]}, "text"

    fed = Plain(META).feed(batches())
    assert pulled == []
    x, rest, text = next(iter(fed))
    assert pulled == [0]
    assert (x.device, rest["y"][0].device, text) == (META, META, "text")


def test_fed_data_can_be_passed_over_again():
    fed = Plain(META).feed([torch.ones(1)])
    assert len(list(fed)) == len(list(fed)) == 1


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
