"""Several processes under FSDP train as one does at the same global batch, and so as under DDP; what FSDP does not go with."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
import torch.distributed.fsdp  # once, not in each process that is forked
from loops import BATCH, Case, adamw, by_hand, on_all, two
from ranks import on_ranks
from torch import nn

from framework import AMP, FSDP, Plain, Recording, SettingError
from framework.backends import Clip
from framework.distributed.fsdp import refuse_unsupported

CPU = torch.device("cpu")
ENDS = (BATCH,) * 47 + (5, 3, 1)  # the last steps have less than a sample for each rank


def unfreeze(net, optimizers):
    net.body.requires_grad_(True)
    optimizers["main"].add_param_group({"params": list(net.body.parameters())})


def head_only(net):
    net.body.requires_grad_(False)
    return {"main": torch.optim.SGD(net.head.parameters(), lr=0.1, momentum=0.9)}


SHORT = (BATCH,) * 16
CASES = {
    "adamw": Case(optimizers=adamw),
    "accumulation, norm": Case(optimizers=adamw, accumulate=4, clip=Clip(norm=0.1)),
    "accumulation, uneven ends, their number not known": Case(accumulate=4, knows_end=False, sizes=ENDS),
    "fp16, two optimizers": Case(precision="fp16", optimizers=two, clip=Clip(norm=0.1), bad=(4, 17)),
    "norm and value": Case(clip=Clip(norm=1.0, value=0.01), sizes=SHORT),
    "value": Case(clip=Clip(value=0.01), sizes=SHORT),
    "two optimizers, one loss": Case(optimizers=two, clip=Clip(norm=0.1), sizes=SHORT),
    "sums, accumulation": Case("summed", accumulate=4, sizes=SHORT),
    "frozen, then not": Case(
        optimizers=head_only,
        before={6: unfreeze, 12: lambda net, optimizers: net.head.requires_grad_(False)},
        sizes=SHORT,
    ),
    "kept after the forward pass": Case(strategy=FSDP(reshard_after_forward=False), sizes=SHORT),
    "bf16": Case(precision="bf16", accumulate=2, sizes=SHORT),
    "bf16, gathered in float32": Case(precision="bf16", strategy=FSDP(param_dtype=torch.float32), sizes=SHORT),
    "fp16": Case(precision="fp16", optimizers=adamw, bad=(3, 7, 8), sizes=SHORT),
    "fp16, accumulation": Case(precision="fp16", accumulate=2, clip=Clip(norm=0.1), bad=(4, 9), sizes=SHORT),
    "fp16, gathered in it": Case(precision="fp16", strategy=FSDP(param_dtype=torch.float16), bad=(4, 7), sizes=SHORT),
}
OF_SIZE = {1: list(CASES)[:1], 2: list(CASES), 4: list(CASES)[1:4]}


@pytest.fixture(scope="module")
def trained():
    """The cases as each rank has trained them, by the number of ranks."""
    known = {}

    def run(size):
        if size not in known:
            cases = [CASES[name] for name in OF_SIZE[size]]
            cases = [case if isinstance(case.strategy, FSDP) else replace(case, strategy=FSDP()) for case in cases]
            answers = on_ranks(size, on_all, size, cases, timeout_s=90)
            known[size] = [dict(zip(OF_SIZE[size], each, strict=True)) for each in answers]
        return known[size]

    return run


@pytest.mark.slow
@pytest.mark.parametrize(("size", "name"), [(size, name) for size, names in OF_SIZE.items() for name in names])
def test_several_processes_train_as_one(trained, name, size):
    case = CASES[name]
    first, *others = (each[name] for each in trained(size))
    for other in others:
        assert (other.skipped, other.scale) == (first.skipped, first.scale)
    expected = by_hand(case, parts=1 if case.precision == "fp32" else size)
    for key, weight in first.weights.items():
        atol = 1e-4 if name in ("bf16", "fp16, gathered in it") else 1e-6  # the gradients of a block are rounded in another place
        torch.testing.assert_close(weight, expected.weights[key].detach(), rtol=0, atol=atol)
    assert first.skipped == expected.skipped
    assert first.scale == expected.scale


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"reshard_after_forward": 1}, r"FSDP\(reshard_after_forward=1\): it is True or False, got int"),
        ({"offload": None}, r"FSDP\(offload=None\): it is True or False, got NoneType"),
        ({"param_dtype": "bf16"}, r"FSDP\(param_dtype='bf16'\): it is torch.float32, torch.bfloat16, torch.float16 or None"),
        ({"reduce_dtype": torch.int8}, r"FSDP\(reduce_dtype=torch.int8\): it is torch.float32"),
    ],
)
def test_settings_are_checked_when_they_are_made(settings, message):
    with pytest.raises(SettingError, match=message):
        FSDP(**settings)


@pytest.mark.parametrize(
    ("strategy", "backend", "message"),
    [
        (FSDP(), Recording(), "strategy='fsdp' does not go with recording in fp32 on cpu. It works on cpu and cuda, in full"),
        (FSDP(), Plain(torch.device("meta")), "strategy='fsdp' does not go with meta in fp32 on meta"),
        (FSDP(offload=True), Plain(CPU), r"FSDP\(offload=True\) moves what a GPU does not need .* and the run is on cpu. Leave"),
        (FSDP(param_dtype=torch.bfloat16), Plain(CPU), r"FSDP\(param_dtype=torch.bfloat16\) in precision 'fp32': what is outside"),
        (FSDP(param_dtype=torch.float16), AMP(CPU, "bf16"), r"FSDP\(param_dtype=torch.float16\) in precision 'bf16'"),
    ],
)
def test_backends_that_it_does_not_go_with(strategy, backend, message):
    with pytest.raises(SettingError, match=message):
        strategy.over(backend, SimpleNamespace(world_size=2), lambda module: [])


class Yields(nn.Module):
    def training_step(self, batch):
        yield "main", batch


@pytest.mark.parametrize(
    ("module", "given", "message"),
    [
        (nn.Linear(1, 1), {"debug": True}, "debug=True does not go with strategy='fsdp': it runs a step again on one process"),
        (nn.Linear(1, 1), {"dry_run": True}, "dry_run=True does not go with strategy='fsdp': it would leave the module in parts"),
        (nn.Linear(1, 1), {"async_save": True}, "async_save=True does not go with strategy='fsdp': it copies the state of one"),
        (Yields(), {}, "Yields.training_step yields its losses, which strategy='fsdp' does not allow: .* Return one loss, or use"),
    ],
)
def test_what_is_refused_when_fit_begins(module, given, message):
    settings = SimpleNamespace(**{"debug": False, "dry_run": False, "async_save": False, **given})
    with pytest.raises(SettingError, match=message):
        refuse_unsupported(module, settings)


def test_what_is_fine_is_not_refused():
    refuse_unsupported(nn.Linear(1, 1), SimpleNamespace(debug=False, dry_run=False, async_save=False))
