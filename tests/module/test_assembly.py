"""The parts of a run, put together."""

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from framework import DataError, Plain, Schedule, SettingError, TrainModule
from framework.data.in_sequence import InSequence
from framework.data.map_style import MapStyle
from framework.data.read_forward import ReadForward
from framework.module.assembly import assemble
from framework.module.data_source import Limited
from framework.module.settings import FitSettings


class Unlimited(IterableDataset):
    def __iter__(self):
        return iter([torch.ones(4)] * 5)


class Asks:
    """Notes the number of steps that the schedules are made for."""

    def configure_schedulers(self, optimizers, total_steps):
        self.total_steps = total_steps


@pytest.fixture
def put_together(line):
    def make(train=(1,), val=None, module=None, seed=5, **given):
        settings = FitSettings(**{**TrainModule.fit.__kwdefaults__, "max_epochs": 1, **given})
        return assemble(module or line(), Plain(torch.device("cpu")), train, val or {}, settings, seed)

    return make


@pytest.fixture
def total_steps(line, put_together):
    def steps(train, **given):
        module = type("Mine", (Asks, line), {})()
        put_together(train, module=module, **given)
        return module.total_steps

    return steps


@pytest.mark.parametrize(
    ("batches", "given", "steps"),
    [
        (5, {"max_epochs": 3}, 15),
        (5, {"max_epochs": 3, "accumulate": 2}, 9),
        (5, {"max_epochs": None, "max_iters": 12}, 12),
        (5, {"max_epochs": None, "max_iters": 12, "accumulate": 3}, 5),
        (5, {"max_epochs": 2, "max_iters": 12, "accumulate": 5}, 2),
        (5, {"max_epochs": 3, "max_iters": 11, "accumulate": 5}, 3),
        (5, {"max_epochs": 2, "limit_train_batches": 3, "accumulate": 2}, 4),
        (5, {"max_epochs": 2, "limit_train_batches": 9}, 10),
        (5, {"max_epochs": 2, "epoch_length": 7, "accumulate": 2}, 8),
        (5, {"max_epochs": None, "max_time_s": 1.0}, None),
        (None, {"max_epochs": 2}, None),
        (None, {"max_epochs": 2, "epoch_length": 3}, 6),
        (None, {"max_epochs": None, "max_iters": 12}, 12),
        (None, {"max_epochs": None, "max_iters": 12, "accumulate": 2}, None),
        (None, {"max_epochs": 3, "max_iters": 12}, None),
        (None, {"max_epochs": None, "max_time_s": 1.0}, None),
    ],
)
def test_how_many_steps_a_run_has(total_steps, batches, given, steps):
    assert total_steps([1] * batches if batches else DataLoader(Unlimited(), batch_size=None), **given) == steps


@pytest.mark.parametrize("batches", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("accumulate", [1, 2, 3])
@pytest.mark.parametrize("limits", [{"max_epochs": 2}, {"max_iters": 5}, {"max_epochs": 2, "max_iters": 5}])
def test_that_many_steps_are_made(line, batches, accumulate, limits):
    module = type("Mine", (Asks, line), {})()
    data = [(torch.ones(1, 4), torch.ones(1, 1))] * batches
    result = module.fit(data, accumulate=accumulate, progress=False, **limits)
    assert result.state.optimizer_steps["main"] == module.total_steps


def test_schedules_may_be_declared_without_the_number_of_steps(line, put_together):
    class Mine(line):
        def configure_schedulers(self, optimizers):
            return torch.optim.lr_scheduler.StepLR(optimizers["main"], 1)

    assert [type(each).__name__ for each in put_together(module=Mine()).schedules.all] == ["StepLR"]


def test_a_monitor_needs_evaluation_data(line, put_together):
    class Mine(line):
        def configure_schedulers(self, optimizers):
            return Schedule(torch.optim.lr_scheduler.ReduceLROnPlateau(optimizers["main"]), monitor="val/loss")

    words = r"Schedule\(monitor='val/loss'\) needs val_data, without which it would never step. Give val_data to fit"
    with pytest.raises(DataError, match=words):
        put_together(module=Mine())
    assert put_together(module=Mine(), val={"val": [1]}).schedules.monitored


MAP = DataLoader(TensorDataset(torch.arange(6)), batch_size=2, shuffle=True)


@pytest.mark.parametrize(
    ("data", "data_order", "kind"),
    [
        (MAP, "batch", MapStyle),
        (MAP, "sample", MapStyle),
        (MAP, "loader", ReadForward),
        ([1, 2], "batch", InSequence),
        ([1, 2], "loader", InSequence),
        (DataLoader(Unlimited(), batch_size=None), "batch", ReadForward),
        (DataLoader(Unlimited(), batch_size=None), "loader", ReadForward),
    ],
)
def test_where_batches_come_from(put_together, data, data_order, kind):
    assembled = put_together(data, data_order=data_order)
    assert type(assembled.source) is kind
    assert assembled.sources == [assembled.source]
    assert assembled.source.seed == 5


def test_an_order_that_the_data_cannot_have(put_together):
    with pytest.raises(SettingError, match="sample"):
        put_together([1, 2], data_order="sample")


def test_what_gives_batches_is_closed_also_for_evaluations(put_together):
    assembled = put_together(MAP, {"val/a": MAP, "val/b": [1]})
    assert [type(source) for source in assembled.sources] == [MapStyle, MapStyle]
    assert [evaluation.stage for evaluation, *_ in assembled.run.evaluations] == ["val/a", "val/b"]
    assert assembled.sources[1] is assembled.run.evaluations[0][1]


def test_a_run_without_data(put_together):
    assembled = put_together(None, epoch_length=3)
    assert (assembled.source, assembled.sources, assembled.run.data) == (None, [], None)
    assert assembled.run.epoch_length == 3


def test_a_limit_of_batches(put_together):
    assembled = put_together([1, 2, 3], limit_train_batches=2)
    assert isinstance(assembled.run.data, Limited)
    assert assembled.run.epoch_length == 2


def test_the_state_before_the_run(line, put_together):
    module = line()
    state = put_together(module=module, val={"val": [1]}).engine.state
    assert (state.stage, state.module, state.seed, state.iteration) == ("train", module, 5, 0)
    assert state.optimizers.keys() == state.optimizer_steps.keys() == {"main"}
    assert state.directions == {}


def test_nothing_is_drawn_and_nothing_is_read(line, counted, put_together):
    module = line()
    before = torch.get_rng_state()
    assembled = put_together(counted, module=module, val={"val": counted})
    assert torch.equal(torch.get_rng_state(), before)
    assert counted.reads == 0
    assert assembled.source.position()["batches"] == 0
