"""A run that stops anywhere and goes on ends as the run that never stopped: the same bits, metrics, history and curves."""

import pytest
import torch
from faulty_runs import lines, without_times
from hypothesis import HealthCheck, given, settings, strategies as st
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from framework import Events, Schedule, TrainModule, seed_all
from framework.handlers import EMA, EarlyStopping

BATCHES, EPOCHS = 4, 3


class Noisy(Dataset):
    """Samples with random augmentation."""

    def __len__(self):
        return 14

    def __getitem__(self, index):
        return torch.full((4,), float(index)) / 14 + 0.1 * torch.randn(4), torch.tensor([float(index % 2)])


class Net(TrainModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 1))
        self.seen = []

    def training_step(self, batch):
        x, y = batch
        self.log("noise", torch.rand(()))
        return F.mse_loss(self.net(x), y)

    def evaluation_step(self, batch):
        x, y = batch
        return {"loss": F.mse_loss(self.net(x), y) + 0.01 * torch.rand(())}

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)

    def configure_schedulers(self, optimizers):
        return {
            "steps": Schedule(torch.optim.lr_scheduler.ExponentialLR(optimizers["main"], 0.95), every="step"),
            "plateau": Schedule(
                torch.optim.lr_scheduler.ReduceLROnPlateau(optimizers["main"], patience=0, factor=0.5), monitor="val/loss"
            ),
        }

    def on_get_batch_completed(self, engine):
        self.seen.append(engine.state.batch[0].clone())


class StopAt:
    """Interrupts a run after an iteration, or at the end of an epoch."""

    def __init__(self, event, count):
        self._event, self._count = event, count

    def on_iteration_completed(self, engine):
        if self._event == "iteration" and engine.state.iteration == self._count:
            engine.interrupt()

    def on_epoch_completed(self, engine):
        if self._event == "epoch" and engine.state.epoch == self._count:
            engine.interrupt()


def fit(run_dir, *handlers, seed=5, workers=0, **changes):
    seed_all(seed)
    module = Net()
    train = DataLoader(Noisy(), batch_size=4, shuffle=True, num_workers=workers)
    val = DataLoader(Noisy(), batch_size=7)
    ema = EMA(decay=0.8)
    arguments = {"max_epochs": EPOCHS, "log_every": 3, "monitor": "val/loss", "seed": 5, "clip_norm": 1.0, **changes}
    result = module.fit(
        train,
        val,
        run_dir=run_dir,
        handlers=[ema, EarlyStopping("val/loss", patience=9), *handlers],
        progress=False,
        **arguments,
    )
    return module, result, ema


def points(result):
    return {name: [point[:3] for point in series] for name, series in result.series.items()}


def assert_same(left, right, left_dir, right_dir):
    (module, result, ema), (other, expected, other_ema) = left, right
    for name, tensor in other.state_dict().items():
        assert torch.isfinite(tensor).all(), name
        assert torch.equal(module.state_dict()[name], tensor), name
    for name, tensor in other_ema.state_dict()["averaged"].items():
        assert torch.equal(ema.state_dict()["averaged"][name], tensor), name
    assert result.metrics == expected.metrics
    assert without_times(result.history) == without_times(expected.history)
    assert points(result) == points(expected)
    assert lines(left_dir) == lines(right_dir)
    assert (result.status, result.reason) == (expected.status, expected.reason)


@pytest.fixture(scope="module")
def never_stopped(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("never") / "run"
    return fit(run_dir), run_dir


def test_the_run_folder_changes_nothing(never_stopped):
    (module, result, _), _ = never_stopped
    other, without, _ = fit(None, monitor=None)
    assert without_times(result.history) == without_times(without.history)
    assert all(torch.equal(a, b) for a, b in zip(module.state_dict().values(), other.state_dict().values(), strict=True))


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.one_of(st.tuples(st.just("iteration"), st.integers(1, 12)), st.tuples(st.just("epoch"), st.integers(1, 3))),
        min_size=1,
        max_size=3,
    )
)
def test_stopped_anywhere(tmp_path_factory, never_stopped, stops):
    run_dir = tmp_path_factory.mktemp("stopped") / "run"
    in_order = sorted(set(stops), key=lambda stop: (stop[1] * (BATCHES if stop[0] == "epoch" else 1), stop[0] == "epoch"))
    for number, (event, count) in enumerate(in_order):
        fit(run_dir, StopAt(event, count), seed=100 + number if number else 5)
    assert_same(fit(run_dir, seed=99), never_stopped[0], run_dir, never_stopped[1])


@pytest.mark.fault(15, 16, 17, 18)
@pytest.mark.parametrize(("first", "then"), [(2, 0), (0, 2)])
def test_with_another_number_of_workers(tmp_path, never_stopped, first, then):
    fit(tmp_path, StopAt("iteration", 6), workers=first)
    assert_same(fit(tmp_path, workers=then, seed=8), never_stopped[0], tmp_path, never_stopped[1])


def test_each_batch_comes_once(tmp_path, never_stopped):
    whole = never_stopped[0][0].seen
    first, _, _ = fit(tmp_path, StopAt("iteration", 6))
    second, _, _ = fit(tmp_path, seed=8)
    assert len(first.seen) == 6
    assert all(torch.equal(a, b) for a, b in zip(first.seen + second.seen, whole, strict=True))


@pytest.mark.fault(19)
def test_stopped_three_times_in_one_epoch_and_at_its_end(tmp_path, never_stopped):
    for number, iteration in enumerate((5, 6, 7, 8)):
        _, result, _ = fit(tmp_path, StopAt("iteration", iteration), seed=20 + number if number else 5)
        assert result.status == "interrupted"
        assert result.state.iteration == iteration
    assert_same(fit(tmp_path, seed=8), never_stopped[0], tmp_path, never_stopped[1])


def test_a_killed_run_goes_on_from_its_last_checkpoint(tmp_path, never_stopped):
    class Die:
        def on_iteration_completed(self, engine):
            if engine.state.iteration == 11:
                raise RuntimeError("dies")

    with pytest.raises(RuntimeError, match="dies"):
        fit(tmp_path, Die(), save_every=Events.ITERATION_COMPLETED(every=3))
    assert_same(fit(tmp_path, seed=3), never_stopped[0], tmp_path, never_stopped[1])
