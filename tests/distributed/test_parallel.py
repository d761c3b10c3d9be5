import pytest
import torch
from ranks import on_ranks
from torch import nn

from framework import AMP, Plain, Recording
from framework.backends import Backend
from framework.distributed.group import joined
from framework.distributed.parallel import _VERBS, Parallel
from framework.errors import RankError

CPU = torch.device("cpu")


class Together(Parallel):
    """The least that one has to write."""

    def parallel_step(self, module, step):
        return step


class Source:
    share = 1.0


@pytest.fixture
def group():
    with joined(CPU, alone=True) as group:
        yield group


def test_what_a_process_does_alone_goes_to_the_inner_backend(group):
    inner = Recording()
    backend = Together(inner, group)
    assert (backend.name, backend.device, backend.precision) == ("recording", CPU, "fp32")
    assert backend.takes_closure
    assert backend.reads_cost_nothing
    weight = nn.Parameter(torch.ones(1))
    backend.backward(weight.sum(), [], None)
    backend.apply([torch.optim.SGD([weight], lr=0.5)])
    backend.mark_step()
    assert inner.calls == ["backward", "step_optimizer", "end_window", "mark_step"]
    assert weight.item() == 0.5


def test_verbs_that_the_inner_backend_lacks_stay_out(group):
    assert all(getattr(Together(Plain(CPU), group), verb) is None for verb in _VERBS)
    assert Together(Plain(CPU), group).micro is None
    assert Together(Plain(CPU), group).reduce is None


def test_a_subclass_keeps_the_verbs_that_are_its_own(group):
    class Own(Together):
        def unscale(self, optimizer):
            return "own"

    assert Own(Recording(), group).unscale(None) == "own"


def test_every_verb_of_a_backend_is_handed_on_or_its_own():
    verbs = {name for name, value in vars(Backend).items() if value is None}
    assert verbs - set(_VERBS) == {"micro", "reduce", "average"}


def test_the_rest_goes_to_the_inner_backend_too(group):
    with pytest.warns(UserWarning, match="fp16 on the CPU"):
        inner = AMP(CPU, "fp16")
    backend = Together(inner, group)
    assert not backend.takes_closure
    assert backend.state_dict() == inner.state_dict()
    backend.load_state_dict({**inner.state_dict(), "loss_scale": 8.0})
    assert inner.scaler.get_scale() == 8.0
    assert backend.autocast(lambda: torch.is_autocast_enabled("cpu"))()
    data = [torch.ones(2)]
    assert backend.feed(data) is data
    assert backend.move(data[0]) is data[0]
    assert backend.to_host(data)[0] is not data[0]
    assert backend.compile(lambda: 3, {"backend": "eager"})() == 3
    backend.synchronize()
    assert not Parallel.probe().ok
    step = object()
    assert backend.inference_step(nn.Linear(1, 1), step) is step


def test_what_a_batch_counts_is_what_the_source_says(group):
    backend = Together(Plain(CPU), group)
    assert backend.weight == 1.0
    backend.source = Source()
    assert backend.count(torch.ones(3, 2)) == 3
    backend.source.share = 0.75
    assert backend.weight == 0.75
    assert backend.count(torch.ones(3, 2)) == 3
    backend.source.share = 0.0
    assert backend.count(torch.ones(3, 2)) == 0


def on_two(rank):
    with joined(CPU) as group:
        torch.manual_seed(rank)
        net, backend = nn.Linear(2, 2), Together(Plain(CPU), group)
        assert backend.place(net) == {}
        means = backend.average(rank + 0.5), backend.average(torch.tensor(rank + 0.5))
        return net.state_dict(), means


def test_the_model_of_rank_0_goes_to_all_and_means_are_over_all():
    (first, means), (other, other_means) = on_ranks(2, on_two)
    torch.manual_seed(0)
    for name, weight in nn.Linear(2, 2).state_dict().items():
        assert torch.equal(first[name], weight)
        assert torch.equal(other[name], weight)
    assert means == other_means == (1.0, torch.tensor(1.0))
    assert isinstance(means[0], float)
    assert means[1].dtype is torch.float32


def with_another_model(rank):
    with joined(CPU) as group, pytest.raises(RankError, match="is missing on rank 1"):
        Together(Plain(CPU), group).place(nn.Linear(2, 2, bias=rank == 0))


def test_another_model_is_refused():
    on_ranks(2, with_another_model)
