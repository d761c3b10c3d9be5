"""A batch of one rank that is not finite is left out on all, and out of what is recorded."""

import warnings

import pytest
from torch.nn import functional as F

from tests.distributed.ranks import on_ranks
from tests.flows.several import Net, furthest, loader, weights
from tests.flows.several_cases import new


class Bad(Net):
    """Has a loss of NaN where a batch has the sample with the largest first feature."""

    def training_step(self, batch):
        x, y = batch
        loss = F.cross_entropy(self(x), y)
        return loss * float("nan") if x[:, 0].max() >= self.limit else loss

    limit = float(loader(103).dataset.tensors[0][:, 0].max())


class BadBeside(Bad):
    def training_step(self, batch):
        return {"loss": super().training_step(batch), "beside": batch[0][:, 1].mean()}


class BadYielded(Bad):
    def training_step(self, batch):
        yield "main", super().training_step(batch)
        return {"beside": batch[0][:, 1].mean()}

    def configure_optimizers(self):
        return {"main": super().configure_optimizers()}


def train(rank, kind, every):
    module = new(kind)
    settings = {"progress": False, "seed": 3, "accelerator": "cpu", "batch": "global", "nan": "skip", "max_epochs": 2}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*([Ll]eft out)", category=UserWarning)
        result = module.fit(loader(32), log_every=every, **settings)
    curves = {name: [(point.iteration, point.value) for point in points] for name, points in result.series.items()}
    return weights(module), result.state.skipped_steps, result.metrics, curves


@pytest.mark.fault(21)
@pytest.mark.parametrize("kind", [Bad, BadBeside, BadYielded])
def test_what_one_rank_leaves_out_is_recorded_by_none(kind):
    for every in (1, 50):
        expected = train(0, kind, every)
        assert expected[1] == 2
        for came in on_ranks(2, train, kind, every):
            assert furthest(came[0], expected[0]) < 1e-6
            assert came[1] == 2
            assert came[2] == pytest.approx(expected[2], abs=1e-6)
            assert came[3].keys() == expected[3].keys()
            for name, points in expected[3].items():
                assert [at for at, _ in came[3][name]] == [at for at, _ in points]
                assert [value for _, value in came[3][name]] == pytest.approx([value for _, value in points], abs=1e-6)
