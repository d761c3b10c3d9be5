"""Mistakes that once gave wrong numbers, or a finished run, without a word."""

import copy
import gc
import weakref

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from framework import DataError, ModuleError, SettingError, StepError, TrainModule, on
from framework.engine import CallableEventWithFilter, Engine, Events
from framework.module.step_events import StepEvents


class Line(TrainModule):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 1)

    def training_step(self, batch):
        return F.mse_loss(self.layer(batch), torch.ones(len(batch), 1))

    def evaluation_step(self, batch):
        return {"loss": F.mse_loss(self.layer(batch), torch.ones(len(batch), 1))}

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


DATA = [torch.ones(4, 4)] * 3


def fit(module, data=DATA, val=None, **settings):
    return module.fit(data, val, **{"max_epochs": 1, "accelerator": "cpu", "progress": False, **settings})


@pytest.mark.parametrize("clip_norm", [None, 1e9])
def test_optimizers_that_share_a_parameter_are_refused(clip_norm):
    class Shared(Line):
        def configure_optimizers(self):
            return {name: torch.optim.SGD(self.parameters(), lr=0.1) for name in ("a", "b")}

    with pytest.raises(ModuleError, match=r"Optimizers 'a' and 'b' both hold the parameter of shape \(1, 4\)"):
        fit(Shared(), clip_norm=clip_norm)


def test_predictions_in_lists_are_one_list_of_samples():
    class Rows(Line):
        def prediction_step(self, batch):
            return list(batch)

    rows = Rows().predict([torch.zeros(2, 3), torch.ones(1, 3)], accelerator="cpu")
    assert [row.tolist() for row in rows] == [[0.0] * 3, [0.0] * 3, [1.0] * 3]


@pytest.mark.parametrize("hook", ["on_get_batch_completed", "on_iteration_started", "on_iteration_completed"])
def test_a_value_logged_in_any_hook_is_weighted_by_the_batch_at_hand(hook):
    class Logs:
        pass

    setattr(Logs, hook, lambda self, engine: module.log("size", len(engine.state.batch)))
    module = Line()
    result = fit(module, [torch.ones(10, 4), torch.ones(2, 4)], handlers=[Logs()], log_every=1)
    assert result.metrics["train/size"] == (10 * 10 + 2 * 2) / 12
    assert [point.value for point in result.series["train/size"]] == [10, 2]


def test_a_skipped_epoch_leaves_nothing_to_the_next():
    class Skips(Line):
        def training_step(self, batch, engine):
            self.log("epoch", engine.state.epoch)
            if engine.state.epoch == 1:
                engine.terminate_epoch(skip_epoch_completed=True)
            return super().training_step(batch)

    result = fit(Skips(), max_epochs=2)
    assert result.metrics["train/epoch"] == 2
    assert [row["epoch"] for row in result.history] == [2]


def test_two_events_in_one_iteration_ask_for_one_evaluation():
    class Counts(Line):
        evaluations = 0

        def on_evaluation_started(self):
            self.evaluations += 1

    module = Counts()
    both = Events.ITERATION_COMPLETED(every=3) | Events.EPOCH_COMPLETED
    result = fit(module, val=DATA, max_epochs=2, validate_every=both)
    assert module.evaluations == 2
    assert all("val/loss" in row for row in result.history)


def test_data_that_gives_less_than_it_says_is_refused():
    class Boasts:
        def __len__(self):
            return 5

        def __iter__(self):
            return iter(DATA)

    with pytest.raises(DataError, match=r"train_data says that it has 5 batches and gave 3\. Correct its __len__"):
        fit(Line(), Boasts())


def test_hooks_of_evaluation_run_in_predict():
    stages = []

    class Watches(Line):
        def prediction_step(self, batch, engine):
            return self.layer(batch)

        def on_evaluation_completed(self, engine):
            stages.append((engine.state.stage, engine.state.iteration))

    assert Watches().predict(DATA, accelerator="cpu").shape == (12, 1)
    assert stages == [("predict", 3)]


def test_a_pair_without_a_metric_is_refused():
    class NoMetrics(Line):
        def evaluation_step(self, batch):
            return self.layer(batch), torch.ones(len(batch), 1)

    with pytest.raises(StepError, match="there is no metric to feed them to"):
        fit(NoMetrics(), val=DATA)


def test_a_hook_by_name_and_by_mark_is_refused():
    with pytest.raises(ModuleError, match="on_epoch_completed is a hook by its name and by @on"):

        class Twice(Line):
            @on(Events.EPOCH_COMPLETED(every=2))
            def on_epoch_completed(self):
                pass


def test_an_attribute_called_events_is_the_users_own():
    class Keeps:
        def __init__(self):
            self.events = []

        def on_epoch_completed(self, engine):
            self.events.append(engine.state.epoch)

    handler, module = Keeps(), Line()
    for _ in range(2):
        fit(module, handlers=[handler])
    assert handler.events == [1, 1]


def test_a_scheduler_of_another_optimizer_is_refused():
    class Stray(Line):
        def configure_schedulers(self, optimizers):
            return torch.optim.lr_scheduler.StepLR(torch.optim.SGD(self.parameters(), lr=0.1), 1)

    with pytest.raises(ModuleError, match="StepLR was made for an optimizer that fit does not step"):
        fit(Stray())


@pytest.mark.parametrize("setting", [{"validate_every": 2}, {"limit_val_batches": 1}])
def test_settings_of_validation_need_validation_data(setting):
    with pytest.raises(SettingError, match="needs val_data, which was not given"):
        fit(Line(), **setting)


@pytest.mark.filterwarnings("ignore:fp16 on the CPU is several times slower")
def test_an_optimizer_without_gradients_is_no_error_of_the_scaler():
    class Unused(Line):
        def __init__(self):
            super().__init__()
            self.other = nn.Linear(1, 1)

        def training_step(self, batch, engine):
            loss = super().training_step(batch)
            return loss + self.other(loss.detach().reshape(1)).sum() if engine.state.iteration == 3 else loss

        def configure_optimizers(self):
            return {"main": torch.optim.SGD(self.layer.parameters(), 0.1), "idle": torch.optim.SGD(self.other.parameters(), 0.1)}

    assert fit(Unused(), precision="fp16", clip_norm=1.0).state.iteration == 3


def test_logging_works_in_on_closed_and_every_on_closed_runs():
    closed = []

    class Closes:
        def on_closed(self):
            closed.append("first")
            raise OSError("disk")

    class Logs(Line):
        def on_closed(self):
            self.log("last", 1.0)
            closed.append("module")

    with pytest.raises(OSError, match="disk"):
        fit(Logs(), handlers=[Closes()])
    assert closed == ["first", "module"]


def test_a_copy_made_in_a_hook_is_no_part_of_the_run():
    class Keeps(Line):
        def on_epoch_completed(self):
            self.__dict__["best"] = copy.deepcopy(self)

    module = Keeps()
    fit(module)
    with pytest.raises(StepError, match="outside of a run"):
        module.best.log("x", 1.0)


def test_a_module_inside_a_module_may_log():
    class Part(Line):
        def forward(self, x):
            self.log("mean", x.mean())
            return self.layer(x)

    class Whole(Line):
        def __init__(self):
            super().__init__()
            self.layer = Part()

    assert fit(Whole()).metrics["train/mean"] == 1.0


def test_a_failed_run_whose_error_was_looked_at_is_freed():
    engines = []

    class Fails(Line):
        def on_started(self, engine):
            engines.append(weakref.ref(engine))

        def on_exception_raised(self, error):
            pass

        def on_iteration_completed(self):
            raise KeyError("broken")

    gc.collect()
    gc.disable()
    try:
        with pytest.raises(KeyError, match="broken"):
            fit(Fails())
        assert engines[0]() is None
    finally:
        gc.enable()


def test_another_precision_keeps_the_device_of_the_last_fit():
    module = Line()
    fit(module)
    assert module._backend_for(None, "bf16").device == torch.device("cpu")


def test_empty_data_of_another_engine_is_not_taken_for_the_training_data():
    class Evaluates(Line):
        def on_epoch_completed(self):
            Engine(lambda engine, batch: None).run([])

    with pytest.raises(ValueError, match="Input data has zero size"):
        fit(Evaluates())


def test_a_filter_holds_for_an_event_with_arguments():
    engine, seen = Engine(lambda engine, batch: engine.fire_event("x", batch)), []
    engine.register_events("x", event_to_attr={"x": "iteration"}, event_payload={"x": ("batch",)})
    engine.add_event_handler(CallableEventWithFilter("x", every=2), lambda *given: seen.append(given[-1]))
    engine.run([1, 2, 3, 4])
    assert seen == [2, 4]


def test_terminate_at_the_very_end_changes_nothing():
    class Ends(Line):
        def on_completed(self, engine):
            engine.terminate(reason="too late")

    result = fit(Ends())
    assert (result.status, result.reason) == ("completed", "max_epochs=1 was reached.")


def test_one_tuple_of_tensors_is_no_batches():
    with pytest.raises(DataError, match=r"train_data is one tuple of 2 tensors or arrays.*DataLoader\(TensorDataset\(\*data\)"):
        fit(Line(), (torch.ones(8, 4), torch.ones(8)))


def test_closing_twice_raises_the_first_error_with_the_others_as_notes():
    from framework.module.step_events import fire_closed, register_step_events

    def fail(text):
        raise ValueError(text)

    engine = Engine(lambda engine, batch: None)
    register_step_events(engine)
    for text in ("one", "two"):
        engine.add_event_handler(StepEvents.CLOSED, fail, text)
    with pytest.raises(ValueError, match="one") as caught:
        fire_closed(engine)
    assert caught.value.__notes__ == ["Another on_closed hook raised ValueError('two')."]
