from unittest import mock

import pytest
import torch

from framework.backends.autocast import best_precision, in_autocast

ONES = torch.ones(2, 2)


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_calls_run_in_the_lower_precision_and_nothing_else_does(precision, dtype):
    forward = in_autocast(lambda x, y: x @ y, "cpu", precision)
    assert forward(ONES, y=ONES).dtype is dtype
    assert (ONES @ ONES).dtype is torch.float32
    assert forward(ONES, ONES).dtype is dtype


def test_an_error_leaves_the_lower_precision():
    def fail():
        raise KeyError("batch")

    with pytest.raises(KeyError):
        in_autocast(fail, "cpu", "bf16")()
    assert not torch.is_autocast_enabled("cpu")


def test_backward_lies_outside():
    seen = []
    weight = torch.ones(2, 2, requires_grad=True)
    loss = in_autocast(lambda: (weight @ ONES).sum(), "cpu", "bf16")()
    weight.register_hook(lambda gradient: seen.append(torch.is_autocast_enabled("cpu")))
    loss.backward()
    assert seen == [False]


def test_the_function_keeps_its_name():
    def forward():
        """Says what it does."""

    assert in_autocast(forward, "cpu", "bf16").__name__ == "forward"


def test_the_kind_of_device_and_the_dtype_are_always_told():
    with mock.patch("torch.amp.autocast") as autocast:
        in_autocast(lambda: None, "xla", "bf16")()
    autocast.assert_called_once_with("xla", dtype=torch.bfloat16)


@pytest.mark.parametrize(("device", "precision"), [("cpu", "bf16"), ("mps", "fp16"), ("xla", "bf16")])
def test_the_best_precision(device, precision):
    assert best_precision(torch.device(device)) == precision


@pytest.mark.parametrize(("native", "precision"), [(True, "bf16"), (False, "fp16")])
def test_cuda_takes_bf16_only_where_it_is_native(monkeypatch, native, precision):
    asked = []
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: asked.append(including_emulation) or native)
    assert best_precision(torch.device("cuda")) == precision
    assert asked == [False]
