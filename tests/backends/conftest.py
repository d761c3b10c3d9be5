"""A small network, its batches, an fp16 backend with a scale that does not overflow by itself, and stand-ins for Apex."""

import sys
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

from framework import AMP, Apex


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
    def make(init_scale=1024.0):
        with pytest.warns(UserWarning, match="fp16 on the CPU is several times slower than fp32. Use precision='bf16'"):
            return AMP(torch.device("cpu"), "fp16", scaler=torch.amp.GradScaler("cpu", init_scale=init_scale))

    return make


@pytest.fixture
def fp16(make_fp16):
    return make_fp16()


def forget_apex():
    for name in [name for name in sys.modules if name.partition(".")[0] == "apex"]:
        del sys.modules[name]


@pytest.fixture
def no_apex(monkeypatch):
    """Lets each test bring its own apex, on a machine without a GPU."""
    forget_apex()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    yield
    forget_apex()


@pytest.fixture
def install_apex(no_apex, monkeypatch):
    """Puts one of the fakes, "legacy" or "modern", where it will be imported."""

    def install(kind):
        forget_apex()
        monkeypatch.syspath_prepend(Path(__file__).parent / "fake_apex" / kind)

    return install


@pytest.fixture
def make_apex(install_apex, monkeypatch):
    """Makes Apex backends on the CPU from one of the fakes. A GPU is claimed only while they are made."""

    def make(kind, opt_level="O1"):
        install_apex(kind)
        with monkeypatch.context() as patch, warnings.catch_warnings():
            warnings.filterwarnings("ignore", "This Apex has no apex.amp|fp16 on the CPU is several times slower", UserWarning)
            patch.setattr(torch.cuda, "is_available", lambda: True)
            return Apex(opt_level, device="cpu")

    return make
