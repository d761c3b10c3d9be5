import copy
import weakref
from dataclasses import replace

import pytest
import torch
from loops import BATCH, CPU, Case, Net, Source, ours, step_of, two
from ranks import on_ranks
from torch import nn

from framework import DDP, Plain, Recording, SettingError, StepError
from framework.backends.report import STEPPED
from framework.distributed.group import joined
from framework.errors import ModuleError, RankError
from framework.steps.returned_loss import ReturnedLoss
from framework.steps.step import Place
from framework.steps.yielded_losses import YieldedLosses


def over(group, strategy=None, backend=None):
    return (strategy or DDP()).over(backend or Plain(CPU), group, lambda module: [])


def trainer(group, net, loss_of, strategy=None, backend=None, place=None, optimizer=None):
    """Returns the backend and a function that trains one batch."""
    backend = over(group, strategy, backend)
    optimizers = {"main": optimizer or torch.optim.SGD(net.parameters(), lr=0.1)}
    backend.adopt(net, optimizers, backend.place(net))
    run = backend.parallel_step(net, lambda batch, engine: loss_of(net, batch))
    step = ReturnedLoss(backend, optimizers, lambda engine, batch: (run(batch, engine), None), place=place)
    return backend, step


def sum_of(net, x):
    return net(x).sum()


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"static_graph": 1}, r"DDP\(static_graph=1\): it is True or False, got int"),
        ({"bucket_mib": 0}, r"DDP\(bucket_mib=0\): it is a number of MiB above 0"),
        ({"bucket_mib": True}, r"DDP\(bucket_mib=True\)"),
        ({"bucket_mib": "25"}, r"DDP\(bucket_mib='25'\)"),
        ({"bucket_mib": float("inf")}, r"DDP\(bucket_mib=inf\)"),
        ({"static_graph": True, "find_unused_parameters": True}, "a static graph finds unused parameters by itself"),
    ],
)
def test_wrong_settings_are_refused(settings, text):
    with pytest.raises(SettingError, match=text):
        DDP(**settings)


def test_settings_are_compared_by_what_they_are():
    assert DDP() == DDP()
    assert DDP(bucket_mib=1.5) != DDP()
    assert DDP.name == "ddp"


def test_a_backend_that_steps_copies_of_the_parameters_is_refused():
    class Copies(Plain):
        def stepped_parameters(self, optimizer):
            return []

    with joined(CPU, alone=True) as group, pytest.raises(SettingError, match=r"cpu in fp32 decides on each process alone.*'amp'"):
        over(group, backend=Copies(CPU))


def test_a_backend_that_averages_by_itself_goes_on_to_do_so():
    inner = Recording()
    with joined(CPU, alone=True) as group:
        net = nn.Linear(2, 1)
        backend, step = trainer(group, net, sum_of, backend=inner)
        step.run(None, torch.ones(3, 2))
    assert inner.calls == ["micro, last", "backward", "micro ends", "reduce", "step_optimizer", "end_window", "mark_step"]
    assert backend._ddp is None


class Inner(Plain):
    """Notes what goes on, and averages nothing."""

    def __init__(self):
        super().__init__(CPU)
        self.calls = []

    def micro(self, last):
        self.calls.append(f"micro {last}")
        return torch.enable_grad()

    def step_optimizer(self, optimizer):
        self.calls.append("step")
        optimizer.step()
        return STEPPED


def test_the_context_of_the_inner_backend_is_entered_too():
    inner = Inner()
    with joined(CPU, alone=True) as group:
        places = iter([Place(True, False, 2), Place(False, True, 2)])
        _, step = trainer(group, nn.Linear(2, 1), sum_of, backend=inner, place=lambda engine: next(places))
        for _ in range(2):
            step.run(None, torch.ones(3, 2))
    assert inner.calls == ["micro False", "micro True", "step"]


def test_a_module_that_is_frozen_is_refused():
    with joined(CPU, alone=True) as group:
        net = nn.Linear(2, 1)
        _, step = trainer(group, net, sum_of)
        net.requires_grad_(False)
        with pytest.raises(ModuleError, match="All parameters of Linear are frozen"):
            step.run(None, torch.ones(1, 2))


def test_nothing_is_left_on_the_module_when_the_backend_is_gone():
    with joined(CPU, alone=True) as group:
        net = nn.Linear(2, 1)
        backend, step = trainer(group, net, sum_of)
        step.run(None, torch.ones(1, 2))
        net.weight.requires_grad_(False)
        gone = weakref.ref(backend._ddp)
        step.run(None, torch.ones(1, 2))
        assert gone() is None
        gone = weakref.ref(backend._ddp)
        del backend, step
        assert gone() is None
        net(torch.ones(1, 2)).sum().backward()


def test_a_step_that_is_compiled_is_run():
    def compiled(net, x):
        return torch.compile(lambda x: net(x).sum(), backend="aot_eager")(x)

    with joined(CPU, alone=True) as group:
        net, alone = nn.Linear(2, 1), nn.Linear(2, 1)
        alone.load_state_dict(net.state_dict())
        _, step = trainer(group, net, compiled)
        step.run(None, torch.ones(3, 2))
        torch.testing.assert_close(net.weight, alone.weight - 0.3)


class Judge:
    """Takes finite losses."""

    judges_gradients = judges_each_backward = False

    def __init__(self):
        self.elsewhere, self.left_out = [], 0

    def takes_loss(self, names, loss):
        return bool(loss.detach().isfinite())

    def refuse_elsewhere(self, names, what):
        self.elsewhere.append((names, what))

    def note_step(self, names):
        pass

    def note_left_out(self, names):
        self.left_out += 1


TEN = (BATCH,) * 10
SKIPPING = {
    "returned": (Case(sizes=TEN, bad=(3, 4, 9)), (3, 4, 9)),
    "accumulation": (Case(sizes=TEN, accumulate=2, bad=(2, 7)), (1, 3)),  # the first of a window, the last of one
    "yielded": (Case("yielded", two, sizes=TEN, bad=(3,)), (3,)),
}


def skipping(rank):
    found = {}
    with joined(CPU) as group:
        for name, (case, windows) in SKIPPING.items():
            judge = Judge()
            skipped = ours(case, group, judge)
            found[name] = judge.left_out, len(judge.elsewhere), set(judge.elsewhere)
            without = ours(replace(case, left_out=windows), group)
            assert all(torch.equal(skipped.weights[key], weight) for key, weight in without.weights.items()), name
    return found


def test_a_loss_that_one_rank_does_not_take_is_left_out_on_all_without_a_trace():
    *others, last = on_ranks(3, skipping)
    main = (("main",), "loss")
    assert others[0] == others[1]
    assert others[0] == {
        "returned": (3, 3, {main}),
        "accumulation": (2, 2, {main}),
        "yielded": (2, 2, {(("body",), "loss"), (("head",), "loss")}),
    }
    assert last == {name: (count, 0, set()) for name, (count, _, _) in others[0].items()}


def resumed(rank, kind, optimizers):
    """Tells whether a training that goes on in a new backend has the bits of one that is not interrupted."""
    case = Case(kind, optimizers, strategy=DDP(bucket_mib=0.0005))
    batches = list(case.batches())[:12]
    with joined(CPU) as group:
        ends, states = [], None
        for begin in (0, 6):
            net, made = case.made()
            backend = over(group, case.strategy)
            backend.adopt(net, made, backend.place(net))
            step = step_of(case, backend, net, made, None)
            if begin:
                net.load_state_dict(states[0])
                for name, state in states[1].items():
                    made[name].load_state_dict(state)
            for number, (x, y, weights) in enumerate(batches[begin:], begin):
                own = slice(2 * rank, 2 * rank + 2)
                if number == 6:
                    states = copy.deepcopy((net.state_dict(), {name: each.state_dict() for name, each in made.items()}))
                step.run(None, (x[own], y[own], weights[own]))
            ends.append([each.detach() for each in net.parameters()])
        return all(map(torch.equal, *ends))


@pytest.mark.parametrize(("kind", "optimizers"), [("returned", two), ("yielded", two)])
def test_what_goes_on_later_has_the_bits_of_what_was_never_stopped(kind, optimizers):
    assert on_ranks(4, resumed, kind, optimizers) == [True] * 4


class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        self.used, self.other, self.never = (nn.Linear(1, 1, bias=False) for _ in range(3))


def used_by_one(net, batch):
    x, takes_other = batch
    return (net.used(x) + (net.other(x) if takes_other else 0)).mean()


def with_unused(rank):
    with joined(CPU) as group:
        net = Branches()
        _, step = trainer(group, net, used_by_one, DDP(find_unused_parameters=True))
        for x in (1.0, 3.0):
            step.run(None, (torch.full((1, 1), x), rank == 1))
        gradients = [None if each.grad is None else each.grad.item() for each in net.parameters()]
        places = iter([Place(True, False, 2), Place(False, True, 2)])
        _, step = trainer(group, net, used_by_one, place=lambda engine: next(places))
        net.never.requires_grad_(False)
        step.run(None, (torch.ones(1, 1), True))
        with pytest.raises(
            StepError, match=rf"took no part in the loss on rank {rank}: some of them\..*find_unused_parameters=True"
        ):
            step.run(None, (torch.ones(1, 1), False))
        _, step = trainer(group, Branches(), used_by_one)
        with pytest.raises(
            StepError, match=rf"took no part in the loss on rank {rank}: other\.weight, never\.weight\. The processes"
        ):
            step.run(None, (torch.ones(1, 1), False))
        return gradients


def test_parameters_without_gradients_are_refused_unless_they_are_looked_for():
    assert on_ranks(2, with_unused) == [[3.0, 1.5, None]] * 2


class Normed(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(1, affine=False)
        self.out = nn.Linear(1, 1)

    def forward(self, x):
        return self.out(self.norm(x))


def normed(rank):
    x = torch.tensor([[1.0], [2.0]]) * (rank + 1)
    found = {}
    with joined(CPU) as group:
        for kind, strategy in {"returned": DDP(), "yielded": DDP(), "own": DDP(broadcast_buffers=False)}.items():
            net = Normed()
            backend = over(group, strategy)
            optimizers = {"main": torch.optim.SGD(net.parameters(), lr=0.1)}
            backend.adopt(net, optimizers, backend.place(net))
            if kind == "yielded":

                def losses(engine, batch, net=net):
                    yield ("main",), sum_of(net, batch)

                step = YieldedLosses(backend, optimizers, losses)
            else:
                run = backend.parallel_step(net, lambda batch, engine, net=net: sum_of(net, batch))
                step = ReturnedLoss(backend, optimizers, lambda engine, batch, run=run: (run(batch, engine), None))
            step.run(None, x)
            step.run(None, x)
            found[kind] = net.norm.running_mean.item()
    return found


def test_buffers_are_those_of_rank_0_after_each_step():
    first, other = on_ranks(2, normed)
    after = 1.5 * 0.1 * (1 + 0.9)  # two steps of rank 0, whose batch has the mean 1.5
    for kind in ("returned", "yielded"):
        assert first[kind] == other[kind] == pytest.approx(after)
    assert other["own"] == pytest.approx(2 * after)


class Odd(nn.Module):
    """Parameters whose gradients are sparse, or complex."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(4, 2, sparse=True)
        self.waves = nn.Parameter(torch.ones(2, dtype=torch.complex64))

    def forward(self, rows):
        return (self.table(rows) * self.waves.abs()).sum()


def odd(rank):
    with joined(CPU) as group:
        net = Odd()
        before = copy.deepcopy(net)
        _, step = trainer(group, net, sum_of)
        for _ in range(2):
            step.run(None, torch.tensor([rank, 3]))
        assert net.table.weight.grad.is_sparse
        return [each.detach() for each in net.parameters()], [each.detach() for each in before.parameters()]


def test_sparse_and_complex_gradients_are_averaged():
    (first, before), (other, _) = on_ranks(2, odd)
    assert all(map(torch.equal, first, other))
    assert not any(map(torch.equal, first, before))


def yielding_differently(rank):
    with joined(CPU) as group:
        net = Net()
        backend, optimizers = over(group), two(net)
        backend.adopt(net, optimizers, backend.place(net))

        def losses(engine, batch):
            yield (("body",), ("head",))[rank], net(batch).sum()

        with pytest.raises(RankError, match=r"the gradients of '(body|head)'"):
            YieldedLosses(backend, optimizers, losses).run(None, torch.ones(1, 6))


def test_ranks_that_yield_losses_for_different_optimizers_are_told_so():
    on_ranks(2, yielding_differently)


def test_a_batch_that_only_fills_up_counts_nothing():
    with joined(CPU, alone=True) as group:
        net = nn.Linear(2, 1, bias=False)
        backend, step = trainer(group, net, sum_of)
        backend.source = Source()
        backend.source.share = 0.0
        before = net.weight.detach().clone()
        step.run(None, torch.ones(3, 2))
        assert torch.equal(net.weight, before)
        assert net.weight.grad.tolist() == [[0.0, 0.0]]
