import os
import subprocess
import sys

import pytest

SCRIPT = """
import os
import torch
import torch.distributed as dist
from framework import rank, world_size
from framework.distributed import lookout
from framework.distributed.group import joined
from framework.module.stopping.signals import StopSignals

lookout._WAITED_S = 1.0
attempt = int(os.environ["TORCHELASTIC_RESTART_COUNT"])
signals = StopSignals()
signals.told = False
with signals, joined(torch.device("cpu")) as group:
    if attempt == 0:
        if rank() == 1:
            raise ValueError("sample 7 is bad")
        dist.all_reduce(torch.ones(1))
    if attempt == 1:
        group.iteration = 10 + rank()
        if rank() == 1:
            dist.all_reduce(torch.ones(1))
        group.barrier("the end of epoch 1")
    total = group.sums("ranks", [rank()])
with joined(torch.device("cpu")) as group:
    total += group.sums("ranks again", [rank()])
print(rank(), world_size(), total)
"""


@pytest.mark.slow
def test_torchrun_starts_them_again_and_each_error_is_shown_once(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    logs = tmp_path / "logs"
    options = ["--standalone", "--nproc-per-node", "2", "--max-restarts", "2", "--redirects", "3", "--log-dir", str(logs)]
    command = [sys.executable, "-m", "torch.distributed.run", *options, str(script)]
    variables = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=variables | {"GLOO_SOCKET_IFNAME": "lo"})
    assert done.returncode == 0, done.stderr
    said = {f"{path.parent.parent.name} {path.parent.name} {path.stem}": path.read_text() for path in logs.rglob("*.log")}
    lines = {
        name: [line.removeprefix("[rank0]: ").removeprefix("[rank1]: ") for line in text.splitlines()]
        for name, text in said.items()
    }
    assert lines.pop("attempt_0 1 stderr") == [
        "Traceback (most recent call last):",
        f'  File "{script}", line 17, in <module>',
        '    raise ValueError("sample 7 is bad")',
        "ValueError: sample 7 is bad",
    ]
    assert lines.pop("attempt_1 0 stderr")[-1] == (
        'framework.errors.RankError: Rank 0 waits at "the end of epoch 1" after iteration 10; rank 1 is in iteration 11 and never '
        "comes there: its data has more batches, or a hook or handler exchanges values on some ranks only. Give all ranks the "
        "same number of batches, and exchange on all of them, in the same order."
    )
    assert lines.pop("attempt_2 0 stdout") == ["0 2 [1.0, 1.0]"]
    assert lines.pop("attempt_2 1 stdout") == ["1 2 [1.0, 1.0]"]
    assert [*lines.values()] == [[]] * 8
