"""A small network, its batches, and an fp16 backend whose gradients a test can make infinite."""

import pytest
import torch
from torch import nn

from framework import AMP


@pytest.fixture
def net():
    torch.manual_seed(5)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))


@pytest.fixture
def batches():
    generator = torch.Generator().manual_seed(3)
    return [(torch.randn(8, 4, generator=generator), torch.randn(8, 1, generator=generator)) for _ in range(5)]


@pytest.fixture
def make_fp16():
    """Makes fp16 backends on the CPU, with a scale that does not overflow by itself."""

    def make(init_scale=1024.0):
        with pytest.warns(UserWarning, match="fp16 on the CPU is several times slower than fp32. Use precision='bf16'"):
            backend = AMP(torch.device("cpu"), "fp16")
        backend.scaler = torch.amp.GradScaler("cpu", init_scale=init_scale)
        return backend

    return make


@pytest.fixture
def fp16(make_fp16):
    return make_fp16()
