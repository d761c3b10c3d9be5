"""Several processes under DDP train as one does at the same global batch."""

import pytest
import torch
from loops import BATCH, Case, adamw, by_hand, lbfgs, on_all, two
from ranks import on_ranks

from framework import DDP
from framework.backends import Clip

ENDS = (BATCH,) * 47 + (5, 3, 1)  # the last steps have less than a sample for each rank


def unfreeze(net, optimizers):
    net.body.requires_grad_(True)
    optimizers["main"].add_param_group({"params": list(net.body.parameters())})


def head_only(net):
    net.body.requires_grad_(False)
    return {"main": torch.optim.SGD(net.head.parameters(), lr=0.1, momentum=0.9)}


CASES = {
    "sgd": Case(),
    "adamw": Case(optimizers=adamw),
    "uneven ends": Case(sizes=ENDS),
    "accumulation": Case(accumulate=4),
    "accumulation, its end not known": Case(accumulate=4, knows_end=False),
    "accumulation, uneven ends": Case(accumulate=4, sizes=ENDS),
    "norm": Case(optimizers=adamw, clip=Clip(norm=0.1)),
    "value": Case(clip=Clip(value=0.01)),
    "two optimizers, one loss": Case(optimizers=two, clip=Clip(norm=0.1)),
    "sums": Case("summed"),
    "sums, accumulation": Case("summed", accumulate=4),
    "sums, accumulation, its end not known": Case("summed", accumulate=4, knows_end=False, sizes=ENDS),
    "yielded": Case("yielded", two),
    "yielded, accumulation": Case("yielded", two, accumulate=4, clip=Clip(norm=0.1)),
    "yielded, uneven ends": Case("yielded", two, sizes=ENDS),
    "lbfgs": Case("closure", lbfgs, sizes=(BATCH,) * 10 + (5, 3), dtype=torch.float64),
    "frozen, then not": Case(
        optimizers=head_only, before={20: unfreeze, 40: lambda net, optimizers: net.head.requires_grad_(False)}
    ),
    "frozen, then not, in a window": Case(optimizers=head_only, accumulate=4, before={22: unfreeze}),
    "unused looked for": Case(accumulate=4, strategy=DDP(find_unused_parameters=True)),
    "static graph": Case(accumulate=4, strategy=DDP(static_graph=True)),
    "small buckets": Case(accumulate=4, strategy=DDP(bucket_mib=0.0001)),
    "gradients where they are sent": Case(accumulate=4, knows_end=False, strategy=DDP(gradient_as_bucket_view=True)),
    "own buffers": Case(strategy=DDP(broadcast_buffers=False)),
    "bf16": Case(precision="bf16", accumulate=2),
    "fp16": Case(precision="fp16", optimizers=adamw, bad=(3, 17, 18)),
    "fp16, accumulation": Case(precision="fp16", accumulate=2, clip=Clip(norm=0.1), bad=(4, 17)),
    "fp16, yielded": Case("yielded", two, precision="fp16", bad=(4, 17)),
}


@pytest.fixture(scope="module")
def trained():
    """The cases as each rank has trained them, by the number of ranks."""
    known = {}

    def run(size):
        if size not in known:
            known[size] = on_ranks(size, on_all, size, list(CASES.values()))
        return [dict(zip(CASES, each, strict=True)) for each in known[size]]

    return run


@pytest.mark.parametrize("size", [2, pytest.param(4, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", CASES)
def test_several_processes_train_as_one(trained, name, size):
    case = CASES[name]
    first, *others = (each[name] for each in trained(size))
    for other in others:
        for key, weight in first.weights.items():
            assert torch.equal(other.weights[key].view(torch.uint8), weight.view(torch.uint8)), key
        assert (other.skipped, other.scale) == (first.skipped, first.scale)
    expected = by_hand(case, parts=1 if case.precision == "fp32" else size)
    for key, weight in first.weights.items():
        torch.testing.assert_close(weight, expected.weights[key].detach(), rtol=0, atol=1e-6)
    assert first.skipped == expected.skipped
    assert first.scale == expected.scale
