from types import SimpleNamespace

import pytest
import torch

from framework import DeviceMemory, Engine, Recorder, SettingError
from framework.handlers import device_memory
from framework.module.hooks import register_hooks

MIB = 2**20


def points(device):
    """What it reads at a point of a run on a device."""
    engine = Engine(lambda engine, batch: None)
    engine.state.module = SimpleNamespace(device=torch.device(device))
    engine.state.recorder = recorder = Recorder("train")
    register_hooks(engine, DeviceMemory())
    engine.run([0])
    recorder.log("loss", 1.0)
    found = recorder.flush(1, 1)
    assert found.pop("train/loss") == 1.0
    return found


def test_on_cuda_what_torch_counts(monkeypatch):
    counted = {"allocated_bytes.all.current": 3 * MIB, "reserved_bytes.all.current": 8 * MIB, "allocated_bytes.all.peak": 5 * MIB}
    asked = []
    monkeypatch.setattr(torch.cuda, "memory_stats", lambda device: asked.append(str(device)) or {**counted, "num_ooms": 0})
    assert points("cuda:1") == {"train/memory/allocated_mib": 3, "train/memory/reserved_mib": 8, "train/memory/peak_mib": 5}
    assert asked == ["cuda:1"]


def test_on_cuda_before_anything_was_allocated(monkeypatch):
    monkeypatch.setattr(torch.cuda, "memory_stats", lambda device: {})
    assert set(points("cuda").values()) == {0.0}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_on_a_real_gpu():
    held = torch.zeros(4 * MIB, device="cuda")
    found = points("cuda")
    assert found["train/memory/peak_mib"] >= found["train/memory/allocated_mib"] >= 16
    assert found["train/memory/reserved_mib"] >= 16
    del held


@pytest.mark.skipif(not device_memory._STATUS.exists(), reason="needs /proc")
def test_elsewhere_what_the_process_has_in_main_memory():
    (before,) = points("cpu").values()
    held = torch.ones(16 * MIB)  # 64 MiB, written to
    (after,) = points("cpu").values()
    assert 20 < before < before + 32 < after
    del held


def test_the_unit_is_that_of_the_system(monkeypatch, tmp_path):
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nVmHWM:\t    4096 kB\nVmRSS:\t    3072 kB\n")
    monkeypatch.setattr(device_memory, "_STATUS", status)
    assert points("mps") == {"train/memory/rss_mib": 3.0}


def test_a_system_that_does_not_tell_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(device_memory, "_STATUS", tmp_path / "none")
    message = r"DeviceMemory reads the memory of a process from .*none, which this system does not have.*only on CUDA; this is mps"
    with pytest.raises(SettingError, match=message):
        points("mps")
