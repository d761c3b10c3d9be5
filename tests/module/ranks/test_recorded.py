import pytest
import torch

from framework import Recorder
from framework.distributed.group import joined
from framework.errors import RankError
from framework.module.ranks.recorded import RecordedOverRanks
from tests.distributed.ranks import on_ranks


def record(rank):
    with joined(torch.device("cpu")) as group:
        recorder = Recorder("train")
        recorder.over_ranks = RecordedOverRanks(group)
        recorder.log("loss", 1.0 + 2 * rank, n=1 + rank)
        recorder.log("zero", 5.0, n=rank)
        points = recorder.flush(iteration=1, epoch=1)
        recorder.log("loss", 10.0, n=1)
        recorder.flush(iteration=2, epoch=1)
        recorder.log("loss", 0.0, n=1)
        if rank == 1:
            recorder.log("spike", 1.0, n=1)
        with pytest.raises(RankError) as error:
            recorder.flush(iteration=3, epoch=1)
        return points, recorder.means(), str(error.value), recorder.over_ranks.feeding({"accuracy": (rank, {})})


def test_sums_are_over_ranks_and_other_names_are_told_to_all():
    first, second = on_ranks(2, record)
    assert first == second
    points, means, told, feeding = first
    assert points == {"train/loss": pytest.approx(7 / 3), "train/zero": 5.0}
    assert means == {"train/loss": pytest.approx((1 + 3 * 2 + 10 + 10) / 5), "train/zero": 5.0}
    assert told.startswith(
        "The ranks have recorded different names since the last point of the curves: rank 0 has not recorded train/spike. Record "
    )
    assert feeding == [{"accuracy": (0, {})}, {"accuracy": (1, {})}]
