"""The handlers of one run: rows of the history, reads of the device, windows, what is freed."""

import pytest
import torch

from framework import DataError, Events, Plain
from framework.module import run as run_module


class Device(Plain):
    """A CPU that is treated as a device on which reading costs a wait."""

    reads_cost_nothing = False


def test_values_are_read_every_log_every_and_at_the_end_of_an_epoch(line, batches, monkeypatch):
    reads = []
    stack = torch.stack

    def counted_stack(tensors, *rest):
        reads.append(len(tensors))
        return stack(tensors, *rest)

    monkeypatch.setattr(torch, "stack", counted_stack)
    line().fit(batches, max_epochs=2, log_every=4, accelerator=Device(torch.device("cpu")), progress=False)
    assert reads == [4, 2, 2, 4]


def test_log_every_changes_the_points_and_not_the_means(line, batches):
    results = [line().fit(batches, max_epochs=2, log_every=every, progress=False) for every in (1, 5, 50)]
    assert [len(result.series["train/loss"]) for result in results] == [12, 4, 2]
    for result in results[1:]:
        assert result.metrics["train/loss"] == pytest.approx(results[0].metrics["train/loss"], rel=1e-12)


def test_a_validation_inside_an_epoch_has_a_row_of_its_own(line, batches):
    result = line().fit(batches, batches[:1], max_epochs=1, validate_every=Events.ITERATION_COMPLETED(every=4), progress=False)
    assert [(row["epoch"], row["iteration"], "val/loss" in row) for row in result.history] == [(1, 4, True), (1, 6, False)]
    assert result.history[0]["train/loss"] != result.history[1]["train/loss"]


def test_a_run_that_ends_inside_an_epoch_is_evaluated_unless_it_just_was(line, batches, trace):
    line().fit(
        batches, batches[:1], max_iters=4, validate_every=Events.ITERATION_COMPLETED(every=4), handlers=[trace], progress=False
    )
    assert trace.seen.count("evaluation_completed") == 1


def test_validation_on_completed(line, batches, trace):
    result = line().fit(batches, batches[:1], max_epochs=2, validate_every=Events.COMPLETED, handlers=[trace], progress=False)
    assert trace.seen.count("evaluation_completed") == 1
    assert "val/loss" in result.metrics


def test_times_are_seconds_since_the_epoch_began(line, batches, monkeypatch):
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(run_module, "perf_counter", lambda: next(clock))
    result = line().fit(batches, max_iters=8, progress=False)
    assert [row["time_s"] for row in result.history] == [10, 10]


def test_terminate_epoch_starts_the_next_one_on_fresh_batches(line, batches):
    seen = []

    class Module(line):
        def training_step(self, batch):
            seen.append(next(index for index, known in enumerate(batches) if known is batch))
            return super().training_step(batch)

        def on_iteration_completed(self, engine):
            if engine.state.iteration == 2:
                engine.terminate_epoch()

    result = Module().fit(batches, max_epochs=2, progress=False)
    assert seen == [0, 1, 0, 1, 2, 3, 4, 5]
    assert [row["iteration"] for row in result.history] == [2, 8]


def test_an_open_window_is_stepped_where_its_epoch_is_ended(line, batches, hand_written, assert_same_weights):
    class Module(line):
        def on_iteration_completed(self, engine):
            if engine.state.iteration == 5:
                engine.terminate_epoch()

    module = Module()
    result = module.fit(batches, max_epochs=1, accumulate=2, progress=False)
    assert result.state.optimizer_steps == {"main": 3}
    expected = hand_written(line(), lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9), [batches[:5]], accumulate=2)
    torch.testing.assert_close(module.state_dict(), expected.state_dict())


def test_what_hooks_log_at_an_epochs_end_belongs_to_its_row(line, batches):
    class Module(line):
        def on_epoch_completed(self, engine):
            self.log("epoch", engine.state.epoch)

    result = Module().fit(batches, max_epochs=2, progress=False)
    assert [row["train/epoch"] for row in result.history] == [1.0, 2.0]


def test_metrics_of_one_epoch_do_not_leak_into_the_next(line):
    class Module(line):
        def training_step(self, batch):
            return self.layer.weight.sum() * 0 + batch

    values = iter([[1.0, 3.0], [10.0]])
    result = Module().fit(lambda: map(torch.tensor, next(values)), max_epochs=2, progress=False)
    assert [row["train/loss"] for row in result.history] == [2.0, 10.0]


def test_data_that_ends_before_the_limit_stops_the_run(line, batches):
    with pytest.warns(UserWarning, match="Data iterator can not provide data anymore"):
        result = line().fit(iter(batches), max_iters=20, epoch_length=4, progress=False)
    assert (result.status, result.state.iteration) == ("stopped", 6)
    assert result.reason == "The data ended after 6 of 20 iterations."
    assert len(result.history) == 2


def test_data_that_ends_before_the_epochs_do_stops_the_run(line, batches):
    with pytest.warns(UserWarning, match="Data iterator can not provide data anymore"):
        result = line().fit(iter(batches), max_epochs=5, epoch_length=4, progress=False)
    assert (result.status, result.state.iteration) == ("stopped", 6)
    assert result.reason == "The data ended after 6 of 20 iterations."
    assert [row["iteration"] for row in result.history] == [4, 6]


class Once:
    """Batches that come once, although it is no iterator."""

    def __init__(self, batches):
        self.batches = iter(batches)

    def __iter__(self):
        return self.batches


@pytest.mark.parametrize("known", [True, False])
def test_data_that_is_used_up_after_an_epoch_is_refused(line, batches, known):
    kind = type("Known", (Once,), {"__len__": lambda self: 6}) if known else Once
    words = rf"In epoch 2 train_data gave no batch: this {kind.__name__} is empty, or was used up by an earlier pass. Give a list"
    with pytest.raises(DataError, match=words):
        line().fit(kind(batches), max_epochs=2, progress=False)


def test_a_function_that_gives_the_same_iterator_again(line, batches):
    once = iter(batches)
    with pytest.raises(DataError, match=r"In epoch 2 train_data gave no batch: what .*lambda.*\(\) gives is empty"):
        line().fit(lambda: once, max_epochs=2, progress=False)


def test_data_that_gives_less_than_it_says_is_refused(line, batches):
    kind = type("Short", (Once,), {"__len__": lambda self: 7})
    with pytest.raises(DataError, match=r"train_data says that it has 7 batches and gave 6. Correct its __len__; or give epoch_le"):
        line().fit(kind(batches), max_epochs=2, progress=False)


def test_data_that_cannot_be_begun_anew_does_not_end_a_run_of_epochs_of_a_given_length(line, batches):
    with (
        pytest.warns(UserWarning, match="Data iterator can not provide data anymore"),
        pytest.raises(DataError, match="A new pass in epoch 2 over train_data gave no batch: this Once is empty, or was used up"),
    ):
        line().fit(Once(batches), max_epochs=5, epoch_length=4, progress=False)


def test_data_of_a_hook_may_end(line, batches):
    class Refills:
        more = iter(batches[:1])

        def on_dataloader_stop_iteration(self, engine):
            engine.set_data(self.more)

    with pytest.warns(UserWarning, match="Data iterator can not provide data anymore"):
        result = line().fit(Once(batches), max_epochs=5, epoch_length=4, handlers=[Refills()], progress=False)
    assert (result.status, result.reason) == ("stopped", "The data ended after 7 of 20 iterations.")
