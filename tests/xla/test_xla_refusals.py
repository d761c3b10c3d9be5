"""What torch_xla cannot do is refused before anything is read, and says what to do instead."""

import os
import subprocess
import sys

import pytest
from on_both import Net

from framework import XLA, AcceleratorError, available_accelerators, select_backend


def test_what_is_chosen():
    assert available_accelerators()["tpu"] == "available"
    backend = select_backend("tpu")
    assert (type(backend), backend.device.type, backend.precision) == (XLA, "xla", "fp32")
    assert select_backend("tpu", "bf16").precision == "bf16"
    assert select_backend("auto").device.type == "cpu"  # PJRT_DEVICE=CPU is for debugging


def test_fp16(make_batches):
    with pytest.raises(AcceleratorError, match="precision='fp16' does not work with torch_xla, which has no gradient scaler"):
        Net().fit(make_batches(1), max_epochs=1, accelerator="tpu", precision="fp16", progress=False)


def test_compile(make_batches):
    with pytest.raises(AcceleratorError, match="compile=True is not for torch_xla, which compiles every step by itself"):
        Net().fit(make_batches(1), max_epochs=1, accelerator="tpu", compile=True, progress=False)


PROGRAM = """
import os
import torch
from framework import TrainModule, select_backend

try:
    select_backend("tpu")
except Exception as error:
    print(repr(error))
os.environ["PJRT_DEVICE"] = "CPU"

class Line(TrainModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def forward(self, x):
        return self.layer(x)

    def training_step(self, batch):
        return self(batch).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

line, data = Line(), [torch.ones(2, 1)]
line.fit(data, max_epochs=1, accelerator="cpu", progress=False)
print("predicted", tuple(line.predict(data, accelerator="tpu").shape))
try:
    line.fit(data, max_epochs=1, accelerator="tpu", progress=False)
except Exception as error:
    print(repr(error))
"""


def test_a_device_that_is_not_there_and_training_after_a_backward_pass_without_torch_xla():
    environment = {**os.environ, "PJRT_DEVICE": "TPU"}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    absent, predicted, late = done.stdout.splitlines()
    assert absent.startswith("AcceleratorError('torch_xla does not start with PJRT_DEVICE=TPU: ")
    assert "to debug on the CPU set PJRT_DEVICE=CPU" in absent
    assert predicted == "predicted (2, 1)"
    assert "torch_xla cannot train in this process: it started after a backward pass on another device" in late
