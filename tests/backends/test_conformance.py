"""One test for every backend: its steps are bit for bit those of the hand-written loop in the same precision."""

import contextlib

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from framework import AMP, Plain, Recording
from framework.backends import Clip
from framework.backends.step import TrainingStep

OPTIMIZERS = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.05, momentum=0.9),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=0.01),
    "adamw-fused": lambda parameters: torch.optim.AdamW(parameters, lr=0.01, fused=True),
}
CLIPS = {
    "unclipped": None,
    "norm": Clip(norm=0.1),
    "value": Clip(value=0.01),
    "both": Clip(norm=0.1, value=0.01),
}
CPU = torch.device("cpu")
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@pytest.fixture(params=["plain", "bf16", "fp16", "recording"])
def backend(request, make_fp16):
    return {
        "plain": lambda: Plain(CPU),
        "bf16": lambda: AMP(CPU, "bf16"),
        "fp16": make_fp16,
        "recording": Recording,
    }[request.param]()


def by_hand(net, optimizer, batches, clip, precision):
    dtype = DTYPES.get(precision)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, enabled=precision == "fp16")
    for x, y in batches:
        optimizer.zero_grad()
        with contextlib.nullcontext() if dtype is None else torch.autocast("cpu", dtype=dtype):
            loss = F.mse_loss(net(x), y)
        scaler.scale(loss).backward()
        if clip is not None:
            scaler.unscale_(optimizer)
            if clip.norm is not None:
                nn.utils.clip_grad_norm_(net.parameters(), clip.norm)
            if clip.value is not None:
                nn.utils.clip_grad_value_(net.parameters(), clip.value)
        scaler.step(optimizer)
        scaler.update()


@pytest.mark.parametrize("clip", CLIPS.values(), ids=CLIPS)
@pytest.mark.parametrize("make_optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_steps_are_bitwise_those_of_the_hand_written_loop(backend, net, batches, make_optimizer, clip):
    start = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    optimizer = make_optimizer(net.parameters())
    backend.place(net)
    backend.adopt(net, {"main": optimizer})
    step = TrainingStep(backend, {"main": optimizer}, lambda engine, batch: (F.mse_loss(net(batch[0]), batch[1]), None), clip=clip)
    for batch in batches:
        step.run(None, batch)
    trained = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    assert step.steps == {"main": len(batches)}

    net.load_state_dict(start)
    by_hand(net, make_optimizer(net.parameters()), batches, clip, backend.precision)
    for name, tensor in net.state_dict().items():
        assert torch.equal(trained[name], tensor)
        assert not torch.equal(start[name], tensor)
