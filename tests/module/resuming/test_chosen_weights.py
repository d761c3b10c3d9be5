"""Which weights evaluate and predict use, and that the module keeps its own."""

import gc
import weakref

import pytest
import torch
from torch import nn

from framework import EMA, CheckpointError, EarlyStopping, SettingError, TrainModule
from framework.module.resuming.chosen_weights import chosen_weights

DATA = [torch.full((2, 1), 2.0)]


class Rising(TrainModule):
    """Its weight rises by 1 in each step: 1, 2, 3, ..."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.register_buffer("seen", torch.zeros(1))
        self.told = ["first"]

    def forward(self, x):
        return self.weight * x

    def training_step(self, batch):
        return -self.weight.sum()

    def evaluation_step(self, batch):
        return {"weight": self.weight.sum(), "far": (self.weight - 2).abs().sum()}

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1.0)

    def get_extra_state(self):
        return {"told": list(self.told)}

    def set_extra_state(self, state):
        self.told = list(state["told"])


def trained(tmp_path=None, **settings):
    torch.manual_seed(0)
    model = Rising()
    folder = {} if tmp_path is None else {"run_dir": tmp_path / "run"}
    return model, model.fit(DATA, DATA, max_epochs=4, progress=False, accelerator="cpu", **folder, **settings)


def test_by_default_the_current_ones(tmp_path):
    model, _ = trained(tmp_path, monitor="val/far", mode="min")
    assert model.evaluate(DATA)["test/weight"] == 4


def test_the_best_are_those_of_the_best_checkpoint_and_the_own_come_back(tmp_path):
    model, result = trained(tmp_path, monitor="val/far", mode="min")
    weight, own = model.weight, model.weight.clone()
    model.told.append("second")
    assert model.evaluate(DATA, weights="best")["test/weight"] == 2
    assert torch.equal(model.predict(DATA, weights="best"), torch.full((2, 1), 4.0))
    assert result.best_checkpoint.name == "step-00000002"
    assert model.weight is weight
    assert torch.equal(model.weight, own)
    assert model.told == ["first", "second"]


def test_a_path_is_a_run_a_checkpoint_or_a_file(tmp_path):
    model, result = trained(tmp_path, monitor="val/far", mode="min", keep=None)
    model.load_weights(tmp_path / "run", which="best")
    with pytest.warns(UserWarning, match="extra_state"):
        model.export(tmp_path / "best.safetensors")
    fresh = Rising()
    for path, weight in [
        (tmp_path / "run", 2),
        (str(tmp_path / "run"), 2),
        (result.last_checkpoint, 4),
        (tmp_path / "run" / "checkpoints" / "step-00000003", 3),
        (tmp_path / "best.safetensors", 2),
    ]:
        assert fresh.evaluate(DATA, weights=path)["test/weight"] == weight
        assert fresh.weight.item() == 0


def test_the_averages_are_those_of_the_last_fit():
    model, result = trained(handlers=[EMA(decay=0.5)])
    assert result.metrics["val/weight"] == ((1 * 0.5 + 2 * 0.5) * 0.5 + 3 * 0.5) * 0.5 + 4 * 0.5
    assert model.evaluate(DATA, weights="ema")["test/weight"] == result.metrics["val/weight"] < 4
    assert model.evaluate(DATA)["test/weight"] == 4


def test_of_a_checkpoint_the_averages_are_used_where_there_are_any(tmp_path):
    model, result = trained(tmp_path, handlers=[EMA(decay=0.5)], monitor="val/far", mode="min")
    best = min(row["val/far"] for row in result.history)
    assert model.evaluate(DATA, weights="best")["test/far"] == best
    assert Rising().evaluate(DATA, weights=tmp_path / "run")["test/far"] == best
    raw, averaged = Rising.load(tmp_path / "run"), Rising.load(tmp_path / "run", averaged=True)
    assert averaged.evaluate(DATA)["test/far"] == best != raw.evaluate(DATA)["test/far"]
    fresh = Rising()
    fresh.load_weights(tmp_path / "run", averaged=True)
    assert torch.equal(fresh.weight, averaged.weight)


def test_averages_that_are_not_there_are_refused(tmp_path):
    trained(tmp_path, handlers=[EarlyStopping("val/far", mode="min", patience=9)])
    with pytest.raises(CheckpointError, match=r"averaged=True: .*step-00000004 holds no averages. Its run had no EMA among its"):
        Rising.load(tmp_path / "run", averaged=True)


def test_what_no_fit_has_made_is_refused():
    model, _ = trained()
    with pytest.raises(SettingError, match=r"weights='best' needs a fit of this module with run_dir and monitor before it"):
        model.evaluate(DATA, weights="best")
    with pytest.raises(SettingError, match=r"weights='ema' needs a fit of this module with handlers=\[EMA\(\)\] before it"):
        model.predict(DATA, weights="ema")


@pytest.mark.parametrize("weights", ["latest", None, 3])
def test_an_unknown_name_lists_what_there_is(weights):
    with pytest.raises(SettingError, match=r"weights is one of 'current', 'best', 'ema', or the path of a run, of a checkpoint"):
        Rising().evaluate(DATA, weights=weights)


def test_the_own_weights_come_back_after_an_error(tmp_path):
    model, result = trained(tmp_path)
    with pytest.raises(KeyError), chosen_weights(model, tmp_path / "run" / "checkpoints" / result.last_checkpoint.name):
        raise KeyError
    other = nn.Linear(1, 1)

    class Other(Rising):
        def __init__(self):
            super().__init__()
            self.layer = other

    different = Other()
    before = {name: value.clone() for name, value in different.state_dict().items() if isinstance(value, torch.Tensor)}
    with pytest.raises(CheckpointError, match=r"layer.weight: missing in the checkpoint"):
        different.evaluate(DATA, weights=tmp_path / "run")
    assert all(torch.equal(value, different.state_dict()[name]) for name, value in before.items())


def test_a_run_that_is_over_knows_its_best(tmp_path):
    trained(tmp_path, monitor="val/far", mode="min")
    with pytest.warns(UserWarning, match="Nothing was trained"):
        model, _ = trained(tmp_path, monitor="val/far", mode="min")
    assert model.evaluate(DATA, weights="best")["test/weight"] == 2


def test_a_module_with_averages_is_freed_at_once():
    model, _ = trained(handlers=[EMA()])
    gone = weakref.ref(model)
    gc.disable()
    try:
        del model
        assert gone() is None
    finally:
        gc.enable()


class Lazy(Rising):
    def __init__(self):
        super().__init__()
        self.layer = nn.LazyLinear(1)

    def evaluation_step(self, batch):
        return {"out": self.layer(batch).sum()}

    def training_step(self, batch):
        return self.layer(batch).sum()


def test_a_lazy_module_that_has_no_weights_yet_keeps_those_it_takes(tmp_path):
    model = Lazy()
    model.fit(DATA, max_epochs=1, run_dir=tmp_path / "run", progress=False, accelerator="cpu")
    for own in (Lazy(), Lazy()):
        assert own.evaluate(DATA, weights=tmp_path / "run") == model.evaluate(DATA)
        assert torch.equal(own.layer.weight, model.layer.weight)
