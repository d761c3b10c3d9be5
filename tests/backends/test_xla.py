"""TPUs: what is found of them, and which calls a step makes. The libraries are stand-ins; torch_xla itself runs in tests/xla and in
test_conformance.py, where it is installed."""

import importlib.util
import subprocess
import sys
import types

import pytest
import torch

from framework import XLA, AcceleratorError, Plain, available_accelerators, select_backend
from framework.backends import Probe, xla
from framework.backends.selector import with_precision

REST = "To debug on the CPU set PJRT_DEVICE=CPU."


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """Makes chosen libraries look installed, on a machine without a GPU and without a PCI device."""
    names = set()
    find_spec = importlib.util.find_spec

    def find(name):
        return (name if name in names else None) if name in ("torch_xla", "torch_tpu") else find_spec(name)

    monkeypatch.setattr(importlib.util, "find_spec", find)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(xla, "_PCI_DEVICES", tmp_path)
    monkeypatch.setenv("PJRT_DEVICE", "")  # so that it is put back
    monkeypatch.delenv("PJRT_DEVICE")
    return names


@pytest.fixture
def calls(installed, monkeypatch):
    """A stand-in for torch_xla that writes down what it is asked to do."""
    written = []
    names = ("torch_xla", "torch_xla.core", "torch_xla.core.xla_model", "torch_xla.runtime", "torch_xla.distributed.spmd")
    modules = {name: types.ModuleType(name) for name in names}
    top, model, runtime = (modules[name] for name in ("torch_xla", "torch_xla.core.xla_model", "torch_xla.runtime"))
    top.device = lambda: "xla:0"
    top.sync = lambda: written.append("sync")
    model.xla_device = lambda: "xla:1"
    model.mark_step = lambda: written.append("mark_step")
    model.wait_device_ops = lambda: written.append("wait")
    model.reduce_gradients = lambda optimizer: written.append(("reduce", optimizer))
    model.set_rng_state = lambda seed: written.append(("seed", seed))
    model.get_rng_state = lambda: "as it was"
    runtime.is_spmd = lambda: False
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    installed.add("torch_xla")
    monkeypatch.setenv("PJRT_DEVICE", "TPU")
    monkeypatch.setattr(XLA, "_seed", None)  # nothing was seeded in this process
    return written


def refusal():
    probe = xla.probe_tpu()
    assert not probe.ok
    with pytest.raises(AcceleratorError) as error:
        select_backend("tpu")
    assert str(error.value).startswith(f"{probe.reason} The accelerators are:")
    assert available_accelerators()["tpu"] == probe.reason
    assert "torch_xla" not in sys.modules
    return probe.reason


def test_absent(installed):
    assert refusal() == f"accelerator='tpu' found no TPU: torch_tpu not installed; torch_xla not installed. {REST}"
    assert XLA.probe() == Probe(False, "not installed")


def test_torch_tpu_without_a_device(installed):
    installed.add("torch_tpu")
    assert refusal() == (
        "accelerator='tpu' found no TPU: torch_tpu installed, but torch.accelerator shows no tpu; torch_xla not installed. " + REST
    )


def test_torch_xla_without_evidence_of_a_device(installed):
    installed.add("torch_xla")
    assert refusal() == (
        "accelerator='tpu' found no TPU: torch_tpu not installed; torch_xla installed, but PJRT_DEVICE is not set and there is no "
        f"Google PCI device. {REST}"
    )


@pytest.mark.parametrize(("value", "evidence"), [("CPU", True), ("TPU", True), ("", False)])
def test_pjrt_device_is_evidence(installed, monkeypatch, value, evidence):
    installed.add("torch_xla")
    monkeypatch.setenv("PJRT_DEVICE", value)
    assert xla.has_evidence() is XLA.probe().ok is xla.probe_tpu().ok is evidence


@pytest.mark.parametrize(("vendor", "evidence"), [("0x1ae0\n", True), ("0x8086\n", False)])
def test_a_device_of_google_is_evidence(installed, tmp_path, vendor, evidence):
    installed.add("torch_xla")
    (tmp_path / "0000:00:04.0").mkdir()
    (tmp_path / "0000:00:04.0" / "vendor").write_text(vendor)
    assert xla.has_evidence() is XLA.probe().ok is xla.probe_tpu().ok is evidence


def test_another_accelerator_is_no_tpu(installed, monkeypatch):
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: torch.device("cuda"))
    assert "found no TPU" in refusal()


@pytest.mark.parametrize(("accelerator", "precision"), [("tpu", None), ("tpu", "bf16"), ("auto", None), ("auto", "bf16")])
def test_torch_xla_is_taken_where_there_is_evidence(calls, accelerator, precision):
    backend = select_backend(accelerator, precision)
    assert (type(backend), str(backend.device), backend.precision, backend.name) == (XLA, "xla:0", precision or "fp32", "xla")
    assert available_accelerators()["tpu"] == "available"
    assert with_precision(backend, "bf16").precision == "bf16"


@pytest.mark.parametrize(("place", "kind"), [(torch.cuda, "cuda"), (torch.backends.mps, "mps")])
def test_auto_prefers_a_gpu_to_torch_xla(calls, monkeypatch, place, kind):
    monkeypatch.setattr(place, "is_available", lambda: True)
    backend = select_backend("auto")
    assert (type(backend), backend.device.type) == (Plain, kind)


def test_auto_leaves_a_torch_xla_that_runs_on_the_cpu_alone(calls, monkeypatch):
    monkeypatch.setenv("PJRT_DEVICE", "CPU")
    assert select_backend("auto").device.type == "cpu"
    assert select_backend("tpu").device.type == "xla"


def test_auto_imports_no_torch_xla_without_evidence(installed):
    installed.add("torch_xla")
    assert select_backend("auto").device.type == "cpu"
    assert "torch_xla" not in sys.modules


@pytest.mark.parametrize("make", [lambda: XLA(precision="fp16"), lambda: select_backend("tpu", "fp16")])
def test_fp16_is_refused(calls, make):
    with pytest.raises(AcceleratorError) as error:
        make()
    assert str(error.value) == (
        "precision='fp16' does not work with torch_xla, which has no gradient scaler. Use 'bf16' or 'fp32'."
    )


def test_it_never_falls_to_the_cpu_silently(calls, monkeypatch):
    monkeypatch.delenv("PJRT_DEVICE")

    def device():
        raise OSError("libtpu not found")

    monkeypatch.setattr(sys.modules["torch_xla"], "device", device)
    with pytest.raises(AcceleratorError) as error:
        XLA()
    assert str(error.value) == (
        "torch_xla does not start with PJRT_DEVICE=TPU: libtpu not found. Install it with its TPU library (torch_xla[tpu]) on a "
        "TPU machine; to debug on the CPU set PJRT_DEVICE=CPU."
    )
    assert calls == []


def test_its_generator_is_seeded_as_torch_is_once_for_each_seed(calls):
    torch.manual_seed(11)
    XLA()
    XLA()
    assert calls == [("seed", 11)]
    torch.manual_seed(12)
    XLA()
    assert calls == [("seed", 11), ("seed", 12)]


def test_a_step_reduces_and_marks(calls):
    backend = XLA()
    calls.clear()
    backend.reduce(["first", "second"])
    backend.mark_step()
    assert calls == [("reduce", "first"), ("reduce", "second"), "sync"]
    assert not backend.reads_cost_nothing


def test_waiting_leaves_its_generator_as_it_was(calls):
    backend = XLA()
    calls.clear()
    backend.synchronize()
    assert calls == ["sync", ("seed", "as it was"), "wait"]


def test_releases_before_2_4_have_other_names(calls, monkeypatch):
    monkeypatch.delattr(sys.modules["torch_xla"], "device")
    monkeypatch.delattr(sys.modules["torch_xla"], "sync")
    backend = XLA()
    assert str(backend.device) == "xla:1"
    calls.clear()
    backend.mark_step()
    assert calls == ["mark_step"]


def test_only_bf16_casts(calls):
    assert XLA().autocast(len) is len
    assert XLA(precision="bf16").autocast(len) is not len


def test_compiling_is_refused(calls):
    with pytest.raises(AcceleratorError, match=r"^compile=True is not for torch_xla, which compiles every step by itself\."):
        XLA().compile(len, {})


def test_it_is_refused_in_a_process_that_has_trained_elsewhere(calls):
    model = torch.nn.Linear(1, 1)
    backend = XLA(torch.device("cpu"))
    backend.adopt(model, {})

    def backward(self):
        raise RuntimeError("no stream")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.Tensor, "backward", backward)
        with pytest.raises(AcceleratorError, match=r"^torch_xla cannot train in this process: .*select_backend\('tpu'\)"):
            backend.adopt(model, {})


def test_without_spmd_batches_are_only_moved(calls):
    backend = XLA(torch.device("meta"))
    calls.clear()
    assert backend.move([torch.ones(8, 3)])[0].device.type == "meta"
    assert calls == []


def test_under_spmd_batches_are_split_along_their_first_dimension(calls, monkeypatch):
    runtime, spmd = sys.modules["torch_xla.runtime"], sys.modules["torch_xla.distributed.spmd"]
    runtime.is_spmd = lambda: True
    runtime.global_runtime_device_count = lambda: 4
    spmd.Mesh = lambda devices, shape, names: (devices, shape, names)
    spmd.mark_sharding = lambda tensor, mesh, spec: calls.append((tuple(tensor.shape), mesh, spec))
    backend = XLA(torch.device("cpu"))
    calls.clear()
    backend.move({"x": torch.ones(8, 3), "y": torch.ones(8), "n": torch.tensor(8), "name": "batch"})
    mesh = ([0, 1, 2, 3], (4,), ("data",))
    assert calls == [((8, 3), mesh, ("data", None)), ((8,), mesh, ("data",))]


TORCH_TPU = """
import torch
torch.utils.rename_privateuse1_backend("tpu")
torch.accelerator.current_accelerator = lambda check_available: torch.device("tpu") if check_available else None
torch.cuda.is_available = lambda: True

from framework import AMP, AcceleratorError, Plain, available_accelerators, select_backend
from framework.backends.selector import with_precision

def described(backend):
    return type(backend), str(backend.device), backend.precision

assert described(select_backend("auto")) == described(select_backend("tpu")) == (Plain, "tpu", "fp32")
assert described(select_backend("auto", "bf16")) == described(select_backend("tpu", "bf16")) == (AMP, "tpu", "bf16")
assert described(with_precision(select_backend("tpu"), "bf16")) == (AMP, "tpu", "bf16")
assert select_backend("tpu", "bf16").state_dict() == {}
assert available_accelerators()["tpu"] == "available"
for accelerator in ("auto", "tpu"):
    try:
        select_backend(accelerator, "fp16")
    except AcceleratorError as error:
        print(error)
"""


def test_torch_tpu_runs_the_ordinary_step_and_comes_first():
    """In a process of its own, since a device can be named only once in one. No tensor is made on it."""
    ran = subprocess.run([sys.executable, "-W", "error", "-c", TORCH_TPU], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines() == ["precision='fp16' is not for a TPU, which computes in bf16. Use precision='bf16'."] * 2
