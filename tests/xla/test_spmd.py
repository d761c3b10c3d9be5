"""Four virtual devices in one process (SPMD): each batch is split over them, and the numbers are those of one."""

import copy
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from on_both import Net, curve, difference, weights


def test_four_devices_train_as_one(make_batches, tmp_path):
    net, batches = Net(), make_batches(10, size=16, last=6)
    torch.save({"net": net.state_dict(), "batches": batches}, tmp_path / "given.pt")
    here = Path(__file__).parent
    environment = {**os.environ, "PJRT_DEVICE": "CPU", "CPU_NUM_DEVICES": "4"}
    done = subprocess.run(
        [sys.executable, here / "sharded.py", tmp_path / "given.pt", tmp_path / "out.pt"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    out = torch.load(tmp_path / "out.pt", weights_only=True)

    assert len(out["shapes"]) == 20
    assert out["shapes"][0] == [[(4, 4)] * 4, [(4, 2)] * 4]  # 16 samples: four on each device
    assert out["shapes"][9] == [[(2, 4)] * 4, [(2, 2)] * 4]  # 6, padded to 8

    twin = copy.deepcopy(net)
    result = twin.fit(batches, batches[:2], max_epochs=2, accelerator="tpu", clip_norm=0.5, log_every=1, progress=False)
    assert difference(out["curve"], curve(result)) < 1e-6
    assert difference(out["weights"], weights(twin)) < 1e-6
    assert out["mse"] == pytest.approx(result.metrics["val/mse"], rel=1e-5)
    assert torch.allclose(out["predicted"], twin.predict(batches), atol=1e-5)
