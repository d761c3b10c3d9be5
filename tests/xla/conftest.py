"""What the tests on real torch_xla share. They run where it is installed, on the CPU; elsewhere they are skipped."""

import importlib.util
import os

import pytest
import torch

from framework import select_backend

INSTALLED = importlib.util.find_spec("torch_xla") is not None
if INSTALLED:
    os.environ.setdefault("PJRT_DEVICE", "CPU")
    select_backend("tpu")  # starts torch_xla, which has to come before the first backward pass of any test


@pytest.fixture(autouse=True)
def needs_torch_xla():
    if not INSTALLED:
        pytest.skip("torch_xla is not installed here; .ci/run makes an environment with it and runs these tests there")


@pytest.fixture
def make_batches():
    """Makes batches of four inputs and two targets that can be learnt from them."""

    def make(count, size=16, last=None):
        generator = torch.Generator().manual_seed(3)
        sizes = [size] * (count - 1) + [last or size]
        inputs = [torch.randn(n, 4, generator=generator) for n in sizes]
        return [(x, torch.stack([x[:, 0] * x[:, 1], x.sum(1)], 1)) for x in inputs]

    return make


@pytest.fixture
def count():
    """Returns how often torch_xla did something since the test began, such as "CompileTime", or all ATen fallbacks by name."""
    from torch_xla.debug import metrics

    metrics.clear_all()

    def counted(metric=None):
        if metric is None:
            return {name: metrics.counter_value(name) for name in metrics.counter_names() if name.startswith("aten::")}
        data = metrics.metric_data(metric)
        return data[0] if data else 0

    return counted
