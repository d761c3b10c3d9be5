"""What is found of TPUs. The libraries are stand-ins: only their presence is looked at, never their code."""

import importlib.util
import sys

import pytest
import torch

from framework import XLA, AcceleratorError, select_backend
from framework.backends import xla

REST = "To debug on the CPU set PJRT_DEVICE=CPU."
NOT_YET = "accelerator='tpu' found {}, whose step this version does not have yet. Use another accelerator."


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """Makes chosen libraries look installed, on a machine without a PCI device."""
    names = set()
    find_spec = importlib.util.find_spec

    def find(name):
        return (name if name in names else None) if name in ("torch_xla", "torch_tpu") else find_spec(name)

    monkeypatch.setattr(importlib.util, "find_spec", find)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: None)
    monkeypatch.setattr(xla, "_PCI_DEVICES", tmp_path)
    monkeypatch.delenv("PJRT_DEVICE", raising=False)
    return names


def reason():
    probe = XLA.probe()
    assert not probe.ok
    with pytest.raises(AcceleratorError) as error:
        select_backend("tpu")
    assert str(error.value).startswith(probe.reason)
    assert "torch_xla" not in sys.modules
    return probe.reason


def test_absent(installed):
    assert reason() == f"accelerator='tpu' found no TPU: torch_tpu not installed; torch_xla not installed. {REST}"


def test_torch_tpu_without_a_device(installed):
    installed.add("torch_tpu")
    assert reason() == (
        "accelerator='tpu' found no TPU: torch_tpu installed, but torch.accelerator shows no tpu; torch_xla not installed. " + REST
    )


def test_torch_tpu_with_a_device(installed, monkeypatch):
    class Device:
        type = "tpu"

    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: Device() if check_available else None)
    assert reason() == NOT_YET.format("TorchTPU")


def test_another_accelerator_is_no_tpu(installed, monkeypatch):
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: torch.device("cuda"))
    assert "found no TPU" in reason()


def test_torch_xla_without_evidence_of_a_device(installed):
    installed.add("torch_xla")
    assert reason() == (
        "accelerator='tpu' found no TPU: torch_tpu not installed; torch_xla installed, but PJRT_DEVICE is not set and there is no "
        f"Google PCI device. {REST}"
    )


def test_torch_xla_where_pjrt_device_is_set(installed, monkeypatch):
    installed.add("torch_xla")
    monkeypatch.setenv("PJRT_DEVICE", "CPU")
    assert reason() == NOT_YET.format("torch_xla")


@pytest.mark.parametrize(("vendor", "found"), [("0x1ae0\n", True), ("0x8086\n", False)])
def test_torch_xla_where_there_is_a_device_of_google(installed, tmp_path, vendor, found):
    installed.add("torch_xla")
    (tmp_path / "0000:00:04.0").mkdir()
    (tmp_path / "0000:00:04.0" / "vendor").write_text(vendor)
    assert (reason() == NOT_YET.format("torch_xla")) is found
