import pytest
import torch

from framework import Engine, NonFiniteError, Plain, Recorder, StepError
from framework.module.forward import LossRecord, returned_loss, yielded_losses
from framework.steps.update import SummedLoss

BATCH = torch.ones(4, 2)
CPU = Plain(torch.device("cpu"))


@pytest.fixture
def engine():
    engine = Engine(lambda engine, batch: None)
    engine.state.iteration, engine.state.epoch = 7, 2
    return engine


@pytest.fixture
def recorder():
    return Recorder("train")


def record_of(recorder, optimizers="", *, reads_cost_nothing=True, guarded=True):
    return LossRecord(recorder, optimizers, reads_cost_nothing=reads_cost_nothing, guarded=guarded)


def loss_of(value):
    return torch.tensor(value, requires_grad=True) * 1.0


def test_a_loss_is_recorded_with_the_samples_of_its_batch(engine, recorder):
    forward = returned_loss(lambda batch, engine: loss_of(8.0 / len(batch)), recorder, record_of(recorder), CPU)
    loss, output = forward(engine, BATCH)
    assert loss.requires_grad
    assert output.item() == 2.0
    assert not output.requires_grad
    forward(engine, torch.ones(2, 2))
    assert recorder.read() == {"loss": [2.0, 4.0]}
    recorder.flush(7, 2)
    assert recorder.means() == {"train/loss": 16.0 / 6.0}


def test_a_sum_is_recorded_as_its_mean_with_its_count_as_weight(engine, recorder):
    sums = iter([(6.0, 2), (4.0, 4), (0.0, 0)])

    def step(batch, engine):
        total, n = next(sums)
        return {"loss": loss_of(total), "n": n}

    forward = returned_loss(step, recorder, record_of(recorder), CPU)
    for mean in (3.0, 1.0, 0.0):
        loss, output = forward(engine, BATCH)
        assert isinstance(loss, SummedLoss)
        assert output.item() == mean
    recorder.flush(7, 2)
    assert recorder.means() == {"train/loss": 10.0 / 6.0}


def test_counts_on_a_device_are_read_with_the_losses(engine, recorder):
    record = record_of(recorder, reads_cost_nothing=False)
    for total, n in ((6.0, 2.0), (0.0, 0.0), (4.0, 4.0)):
        record.keep(SummedLoss(loss_of(total), torch.tensor(n)), 1, engine)
    recorder.flush(7, 2)
    assert recorder.means() == {"train/loss": 10.0 / 6.0}


def test_a_loss_that_is_not_finite_stops_its_step_where_reading_costs_nothing(engine, recorder):
    with pytest.raises(NonFiniteError, match=r"The loss for 'd' is nan in iteration 7 \(epoch 2\)"):
        record_of(recorder, "d").keep(loss_of(float("nan")), 1, engine)
    record_of(recorder, "g", guarded=False).keep(loss_of(float("nan")), 1, engine)


def test_elsewhere_the_first_is_found_when_they_are_read(engine, recorder):
    record = record_of(recorder, "d", reads_cost_nothing=False)
    for iteration, value in enumerate((1.0, float("inf"), float("nan")), start=11):
        engine.state.iteration = iteration
        record.keep(loss_of(value), 1, engine)
    assert record.check(recorder.read()["loss/d"]) == (12, float("inf"), "d")
    assert record.check([]) is None


def test_unguarded_losses_are_not_looked_at(engine, recorder):
    record = record_of(recorder, reads_cost_nothing=False, guarded=False)
    record.keep(loss_of(float("nan")), 1, engine)
    assert record.check(recorder.read()["loss"]) is None


def test_a_computation_again_records_nothing(engine, recorder):
    def step(batch, engine):
        recorder.log("logged", 1.0)
        return {"loss": loss_of(float("nan")), "other": 2.0}

    forward = returned_loss(step, recorder, record_of(recorder), CPU)
    with recorder.pause():
        loss, _ = forward(engine, BATCH)
    assert loss.isnan()
    assert recorder.read() == {}
    recorder.flush(7, 2)


def test_recording_goes_on_after_a_computation_again_has_failed(engine, recorder):
    forward = returned_loss(lambda batch, engine: None, recorder, record_of(recorder), CPU)
    with pytest.raises(StepError, match="got None"), recorder.pause():
        forward(engine, BATCH)
    assert not recorder.paused


def test_yielded_losses_are_recorded_one_by_one(engine, recorder):
    def step(batch, engine):
        yield "d", loss_of(1.0)
        assert recorder.read() == {"loss/d": [1.0]}
        recorder.flush(7, 2)
        yield ("d", "g"), loss_of(2.0)
        return {"other": loss_of(3.0)}

    losses = yielded_losses(step, recorder, ["d", "g"], lambda names: record_of(recorder, names), CPU)(engine, BATCH)
    assert [names for names, _ in (next(losses), next(losses))] == [("d",), ("d", "g")]
    with pytest.raises(StopIteration) as end:
        next(losses)
    assert {name: value.item() for name, value in end.value.value.items()} == {"loss/d": 1.0, "loss/d+g": 2.0, "other": 3.0}
    assert recorder.read() == {"loss/d+g": [2.0], "other": [3.0]}
    recorder.flush(7, 2)


def test_the_name_of_a_yielded_loss_is_not_for_logging(engine, recorder):
    record_of(recorder, "d")
    with pytest.raises(StepError, match="train/loss/d is recorded from what the step returns"):
        recorder.log("loss/d", 1.0)


def test_the_users_generator_is_closed_with_ours(engine, recorder):
    ended = []

    def step(batch, engine):
        try:
            yield "d", loss_of(1.0)
        finally:
            ended.append(True)

    losses = yielded_losses(step, recorder, ["d"], lambda names: record_of(recorder, names), CPU)(engine, BATCH)
    next(losses)
    losses.close()
    assert ended == [True]


def test_a_name_may_not_be_both_a_loss_and_something_else(engine, recorder):
    def step(batch, engine):
        yield "d", loss_of(1.0)
        return {"loss/d": 100.0}

    losses = yielded_losses(step, recorder, ["d"], lambda names: record_of(recorder, names), CPU)(engine, BATCH)
    next(losses)
    with pytest.raises(StepError, match="train/loss/d is recorded twice: as its loss and by what the step returns"):
        next(losses)
    recorder.log("loss/g", 1.0)
    with pytest.raises(StepError, match="train/loss/g is recorded twice: by log and as the loss of the step"):
        record_of(recorder, "g")


class Filling(Plain):
    """A process whose batch only fills up."""

    weight = 0.0

    def count(self, batch):
        return 0


def test_a_batch_that_only_fills_up_is_not_recorded(engine, recorder):
    filling, record = Filling(torch.device("cpu")), record_of(recorder)
    for backend, value in ((CPU, 2.0), (filling, 50.0)):
        recorder.samples = lambda backend=backend: backend.count(BATCH)
        returned = {"loss": loss_of(value), "other": value}
        returned_loss(lambda batch, engine, returned=returned: returned, recorder, record, backend)(engine, BATCH)
    recorder.flush(7, 2)
    assert recorder.means() == {"train/loss": 2.0, "train/other": 2.0}


def test_a_sum_of_a_batch_that_only_fills_up_counts_nothing(engine, recorder):
    filling = Filling(torch.device("cpu"))

    def step(batch, engine):
        yield "d", {"loss": loss_of(6.0), "n": 3}

    record = record_of(recorder, "d")
    for backend in (CPU, filling):
        ((_, loss),) = yielded_losses(step, recorder, ["d"], lambda names: record, backend)(engine, BATCH)
        assert (loss.total.item(), loss.count) == ((6.0, 3.0) if backend is CPU else (0.0, 0.0))
    recorder.flush(7, 2)
    assert recorder.means() == {"train/loss/d": 2.0}
