import re

import pytest
import torch

from framework import AMP, AcceleratorError, Apex, Plain, Recording, available_accelerators, select_backend
from framework.backends.selector import with_precision

NAMES = ["auto", "cpu", "cuda", "mps", "amp", "apex", "tpu"]


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)


def described(backend):
    return type(backend), str(backend.device), backend.precision


@pytest.mark.parametrize(
    ("accelerator", "precision", "expected"),
    [
        ("auto", None, (Plain, "cpu", "fp32")),
        ("auto", "bf16", (AMP, "cpu", "bf16")),
        ("cpu", None, (Plain, "cpu", "fp32")),
        ("cpu", "fp32", (Plain, "cpu", "fp32")),
        ("cpu", "bf16", (AMP, "cpu", "bf16")),
        ("cpu:0", None, (Plain, "cpu:0", "fp32")),
        ("amp", None, (AMP, "cpu", "bf16")),
        ("amp", "bf16", (AMP, "cpu", "bf16")),
        ("amp", "fp32", (Plain, "cpu", "fp32")),
    ],
)
def test_on_a_machine_without_a_gpu(accelerator, precision, expected):
    assert described(select_backend(accelerator, precision)) == expected


@pytest.mark.parametrize(
    ("accelerator", "precision", "expected"),
    [
        ("auto", None, (Plain, "cuda", "fp32")),
        ("cuda", None, (Plain, "cuda", "fp32")),
        ("cuda:1", None, (Plain, "cuda:1", "fp32")),
        ("cuda:1", "bf16", (AMP, "cuda:1", "bf16")),
        ("amp", None, (AMP, "cuda", "bf16")),
        ("cpu", None, (Plain, "cpu", "fp32")),
    ],
)
def test_on_a_machine_with_gpus(two_gpus, accelerator, precision, expected):
    assert described(select_backend(accelerator, precision)) == expected


def test_on_a_machine_with_an_apple_gpu(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert described(select_backend("auto")) == (Plain, "mps", "fp32")
    assert described(select_backend("mps")) == (Plain, "mps", "fp32")


def test_the_default_is_auto():
    assert described(select_backend()) == described(select_backend("auto"))


def test_fp16_on_the_cpu_is_allowed_and_warns():
    with pytest.warns(UserWarning, match="fp16 on the CPU"):
        assert described(select_backend("amp", "fp16")) == (AMP, "cpu", "fp16")


def test_a_backend_is_returned_as_it_is():
    backend = Recording()
    assert select_backend(backend) is backend
    assert select_backend(backend, "fp32") is backend


def test_a_precision_that_contradicts_the_given_backend():
    with pytest.raises(AcceleratorError, match="precision='bf16' contradicts the given Recording backend, which runs in fp32"):
        select_backend(Recording(), "bf16")


@pytest.mark.parametrize(
    ("device", "precision", "expected"),
    [
        ("cpu", "bf16", (AMP, "cpu", "bf16")),
        ("cuda:1", "bf16", (AMP, "cuda:1", "bf16")),
        ("cuda:1", "fp16", (AMP, "cuda:1", "fp16")),
    ],
)
def test_another_precision_on_the_device_of_a_backend(two_gpus, device, precision, expected):
    backend = Plain(torch.device(device))
    changed = with_precision(backend, precision)
    assert described(changed) == expected
    assert described(with_precision(changed, "fp32")) == (Plain, device, "fp32")


def test_the_same_precision_leaves_a_backend_as_it_is():
    backend = Recording()
    assert with_precision(backend, None) is with_precision(backend, "fp32") is backend


@pytest.mark.parametrize("precision", ["tf64", [], 3.5, torch.int8])
def test_an_unknown_precision(precision):
    with pytest.raises(AcceleratorError) as error:
        select_backend("cpu", precision)
    assert str(error.value) == f"precision={precision!r} is unknown. It is one of fp32, bf16, fp16, or None for the default."


@pytest.mark.parametrize(
    ("precision", "meant"),
    [
        *((16, "fp16"), ("16-mixed", "fp16"), ("half", "fp16"), (torch.float16, "fp16"), ("FP16", "fp16"), ("fp61", "fp16")),
        *(("bf16-mixed", "bf16"), (torch.bfloat16, "bf16"), ("bfloat16", "bf16")),
        *((32, "fp32"), ("32-true", "fp32"), ("float32", "fp32")),
    ],
)
def test_a_precision_as_others_call_it(precision, meant):
    with pytest.raises(AcceleratorError, match=f"is unknown. It is one of .*, or None for the default. Did you mean '{meant}'"):
        select_backend("cpu", precision)


def refusal(accelerator):
    with pytest.raises(AcceleratorError) as error:
        select_backend(accelerator)
    return str(error.value)


@pytest.mark.parametrize("accelerator", ["gpu", "cudaa", "", "cuda:", "cuda:x", "cuda:-1", "tpu:0", "CPU"])
def test_an_unknown_name_lists_every_name_with_its_reason(accelerator):
    message = refusal(accelerator)
    assert message.startswith(f"accelerator={accelerator!r} is unknown.")
    for name, status in available_accelerators().items():
        assert f"\n  {name!r}: {status}" in message


def test_a_near_name_is_suggested():
    assert "is unknown. Did you mean 'cuda'?" in refusal("cudaa")
    assert "Did you mean" not in refusal("zork")
    assert "Did you mean 'cpu'?" in refusal("CPU")
    assert "Did you mean 'cuda'?" in refusal("gpu")
    assert "Did you mean 'tpu'?" in refusal("xla")
    assert "is neither a name nor a Backend. Did you mean 'cuda:1'? The accelerators are:" in refusal(torch.device("cuda:1"))


@pytest.mark.parametrize("accelerator", [None, 3, Plain])
def test_what_is_no_name(accelerator):
    assert refusal(accelerator).startswith(f"accelerator={accelerator!r} is neither a name nor a Backend. The accelerators are:")


@pytest.mark.parametrize(
    ("accelerator", "reason"),
    [
        ("cuda", f"accelerator='cuda' found no CUDA GPU; torch.cuda.is_available() is False (torch {torch.__version__})."),
        ("cuda:9", f"accelerator='cuda' found no CUDA GPU; torch.cuda.is_available() is False (torch {torch.__version__})."),
        (
            "mps",
            f"accelerator='mps' found no Apple GPU: torch.backends.mps.is_available() is False (torch {torch.__version__}).",
        ),
        ("apex", "accelerator='apex' needs NVIDIA Apex, which is not installed."),
        ("tpu", "accelerator='tpu' found no TPU: torch_tpu not installed; torch_xla not installed."),
    ],
)
def test_what_is_not_here_is_refused_with_the_reason_and_the_list(monkeypatch, accelerator, reason):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    message = refusal(accelerator)
    assert message.startswith(reason)
    assert "The accelerators are:\n  'auto': available\n  'cpu': available" in message


def test_a_device_number_that_is_not_there(two_gpus):
    assert refusal("cuda:9") == "accelerator='cuda:9': this machine has 2 cuda device(s), numbered from 0."
    assert refusal("cpu:1") == "accelerator='cpu:1': this machine has 1 cpu device(s), numbered from 0."


def test_available_accelerators_names_each_with_its_state():
    states = available_accelerators()
    assert list(states) == NAMES
    assert [name for name, state in states.items() if state == "available"] == ["auto", "cpu", "amp"]
    assert states["apex"] == Apex.probe().reason
    assert all(re.match(f"accelerator='{name}' ", states[name]) for name in ("cuda", "mps", "apex", "tpu"))
