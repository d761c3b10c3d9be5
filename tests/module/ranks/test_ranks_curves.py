import torch

from framework.distributed.group import joined
from framework.loggers.jsonl import MetricsFile
from framework.module.ranks.curves import SharedCurves
from tests.distributed.ranks import on_ranks


def write(rank, folder):
    with joined(torch.device("cpu")) as group:
        file = MetricsFile(folder / "metrics.jsonl")
        curves = SharedCurves(file, group)
        curves.points(1, 1, 0.0, {"train/loss": 1.0})
        end = curves.position()
        curves.row({"epoch": 1})
        curves.cut(group.from_main("end", end))
        read = curves.read()
        file.close()
        return end > 0, read


def test_rank_0_writes_and_all_read_what_it_has_left(tmp_path):
    expected = ({"train/loss": [(1, 1.0, 1, 0.0)]}, [])
    assert on_ranks(2, write, tmp_path) == [(True, expected), (False, expected)]
