"""show_loop checks as fit does, draws what is registered, and leaves no trace. That the drawing is true: tests/flows."""

import gc
import random
import warnings
import weakref

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import LinearLR, OneCycleLR, ReduceLROnPlateau, StepLR
from torch.utils.data import DataLoader

from framework import (
    DataError,
    EarlyStopping,
    EventEnum,
    Events,
    ModuleError,
    Plain,
    Schedule,
    SettingError,
    StepEvents,
    TrainModule,
    on,
)
from framework.handlers import EMA
from framework.module.drawing.show_loop import draw_loop
from framework.module.hooks import EVALUATION_PREFIX


def lines_of(text):
    """The code of a drawing, without comments and indentation."""
    return [line.split("  #")[0].strip() for line in text.splitlines() if not line.strip().startswith("#")]


def added(before, after):
    return [line for line in lines_of(after) if line not in lines_of(before)]


def test_it_prints_the_drawing_and_returns_nothing(line, batches, capsys):
    assert line().show_loop(batches, batches, max_epochs=3) is None
    assert capsys.readouterr().out == draw_loop(line(), batches, batches, max_epochs=3) + "\n"


def test_a_small_module_fits_on_a_screen(line, batches):
    text = draw_loop(line(), batches, batches, max_epochs=3)
    assert len(text.splitlines()) <= 60
    assert max(map(len, text.splitlines())) <= 120


def test_the_plain_loop(line, batches):
    class Mine(line):
        def on_iteration_completed(self, engine): ...

    text = lines_of(draw_loop(Mine(), batches, max_epochs=3, progress=False))
    assert text[0] == "model = Mine()"
    assert text[1] == "optimizer = SGD(model.parameters(), lr=0.05, momentum=0.9)"
    begin = text.index("for epoch in range(1, 4):")
    assert text[begin + 1] == "model.train()"
    step = text.index("for batch in train_data:")
    assert text[step + 1 : step + 8] == [
        "iteration += 1",
        "optimizer.zero_grad()",
        "loss = model.training_step(batch)",
        "refuse_non_finite(loss)",
        "loss.backward()",
        "optimizer.step()",
        "model.on_iteration_completed(engine)",
    ]


HOOKS = [f"on_{event.value}" for event in (*Events, *StepEvents)] + [f"{EVALUATION_PREFIX}{event.value}" for event in Events]


@pytest.mark.parametrize("hook", HOOKS)
def test_a_handler_of_each_event_has_a_place(line, batches, hook):
    class Looker:
        pass

    setattr(Looker, hook, lambda self: None)
    with_it = draw_loop(line(), batches, batches, max_epochs=1, handlers=[Looker()])
    assert f"looker.{hook}()" in lines_of(with_it)


@pytest.mark.parametrize(
    ("settings", "new"),
    [
        ({"clip_norm": 1.0}, ["clip_grad_norm_(model.parameters(), 1.0)"]),
        ({"clip_value": 0.5}, ["clip_grad_value_(model.parameters(), 0.5)"]),
        ({"log_every": 7}, ["if iteration % 7 == 0:"]),
        ({"seed": 4}, ["seed_all(4)"]),
        ({"deterministic": True}, ["torch.use_deterministic_algorithms(True)"]),
        ({"accelerator": "amp"}, ['with torch.autocast("cpu", torch.bfloat16):']),
        ({"max_epochs": None, "max_time_s": 9.5}, ["for epoch in count(1):"]),
        ({"limit_train_batches": 2}, ["for batch in islice(train_data, 2):"]),
        ({"handlers": [EMA()]}, ["ema.on_started(engine)", "ema.on_optimizer_step_completed()", "ema.on_iteration_completed()"]),
    ],
)
def test_a_setting_changes_the_text_where_it_changes_the_run(line, batches, settings, new):
    before = draw_loop(line(), batches, max_epochs=1, progress=False)
    found = added(before, draw_loop(line(), batches, **{"max_epochs": 1, "progress": False, **settings}))
    assert [each for each in found if each in new] == new


def test_a_hang_is_told_of(line, batches):
    assert "# hang_timeout_s=30: " in draw_loop(line(), batches, max_epochs=1, hang_timeout_s=30.0)


def test_schedules_stand_where_they_step(line, batches):
    class Scheduled(line):
        def configure_schedulers(self, optimizers):
            optimizer = optimizers["main"]
            plateau = Schedule(ReduceLROnPlateau(optimizer), monitor="val/loss")
            return {"warm": Schedule(LinearLR(optimizer), every="step"), "drop": StepLR(optimizer, 1), "plateau": plateau}

    text = lines_of(draw_loop(Scheduled(), batches, batches, max_epochs=1, progress=False))
    assert text[text.index("optimizer.step()") + 1] == "linear_lr.step()"
    drop, begin = text.index("step_lr.step()"), text.index("model.eval()")
    assert text.index("run.summarise_epoch(engine)") < drop < begin
    assert text[text.index("model.train()", begin) + 1] == 'reduce_lr_on_plateau.step(metrics["val/loss"])'


def test_filters_are_conditions(line, batches):
    def now_and_then(engine, count):
        return False

    class Filtered:
        @on(Events.ITERATION_COMPLETED(every=3) | Events.EPOCH_STARTED(once=2) | Events.EPOCH_COMPLETED(once=[1, 3]))
        def some(self): ...

        @on(Events.ITERATION_STARTED(after=4) | Events.GET_BATCH_COMPLETED(before=5, every=2))
        def window(self, engine): ...

        @on(Events.ITERATION_STARTED(event_filter=now_and_then))
        def chosen(self): ...

    text = lines_of(draw_loop(line(), batches, max_epochs=5, handlers=[Filtered()], progress=False))
    calls = {
        "if iteration % 3 == 0:": "some()",
        "if epoch == 2:": "some()",
        "if epoch in (1, 3):": "some()",
        "if 4 < iteration:": "window(engine)",
        "if 0 < iteration < 5 and (iteration - 1) % 2 == 0:": "window(engine)",
        "if now_and_then(engine, iteration):": "chosen()",
    }
    for condition, call in calls.items():
        assert text[text.index(condition) + 1] == f"filtered.{call}"


def test_what_hooks_get_is_what_the_engine_hands_over(line, batches):
    class Mine(line):
        def on_loss_computed(self, loss): ...
        def on_optimizer_step_started(self, engine, optimizer): ...
        def on_exception_raised(self, engine, e): ...
        def on_terminate_single_epoch(self, engine, iter_counter): ...

    text = lines_of(draw_loop(Mine(), batches, max_epochs=1))
    assert "model.on_loss_computed(loss)" in text
    assert "model.on_optimizer_step_started(engine, optimizer)" in text
    assert "model.on_exception_raised(engine, exception)" in text
    assert text[text.index("except EpochTerminated:") + 1] == "iter_counter = iteration - epoch_start"
    assert "model.on_terminate_single_epoch(engine, iter_counter=iter_counter)" in text


def test_a_handler_of_an_event_that_the_loop_does_not_fire_is_told_of(line, batches):
    text = draw_loop(line(), batches, max_epochs=1, handlers=[EarlyStopping("val/loss")])
    assert text.splitlines()[-2:] == [
        "# This loop does not fire these events itself; who does runs their handlers:",
        "# evaluated: early_stopping.on_evaluated(engine)",
    ]


def test_a_filter_on_a_custom_event_is_shown_beside_its_handler(line, batches):
    class Mine(line):
        events = (EventEnum("Pages", {"PAGE_TURNED": ("page_turned", "page")}),)

        def on_page_turned(self, page): ...

        @on(events[0].PAGE_TURNED(every=2))
        def second(self): ...

    assert draw_loop(Mine(), batches, max_epochs=1).splitlines()[-2:] == [
        "# page_turned: model.on_page_turned(page)",
        "# page_turned: if engine.state.page_turned_count % 2 == 0: model.second()",
    ]


def test_a_run_folder_shows_its_saver_and_is_not_touched(line, batches, tmp_path):
    text = draw_loop(line(), batches, batches, max_epochs=1, run_dir=tmp_path / "run", monitor="val/loss", save_every=2)
    assert list(tmp_path.iterdir()) == []
    found = lines_of(text)
    assert found[found.index("saver.mark_due()") - 1] == "if epoch % 2 == 0:"
    assert found.index("saver.save(engine, None)") < found.index("iteration = 0")
    assert "saver.note_evaluation(engine)" in found


class Tied(TrainModule):
    """Makes its optimizer early, freezes a part late, and draws random numbers all the while."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(2, 2), nn.Linear(2, 1)
        self.first.eval()
        self.optimizer = torch.optim.SGD(self.parameters(), lr=torch.tensor(0.5), momentum=0.9)

    def training_step(self, batch):
        raise AssertionError("nothing is run")

    evaluation_step = training_step

    def configure_optimizers(self):
        torch.rand(3)
        random.random()
        self.first.requires_grad_(False)
        self.made = True
        return self.optimizer

    def configure_schedulers(self, optimizers, total_steps):
        return Schedule(OneCycleLR(optimizers["main"], max_lr=1.0, total_steps=total_steps), every="step")


class Unread(DataLoader):
    def __iter__(self):
        raise AssertionError("nothing is read")


def test_everything_stays_as_it_is():
    module, handler = Tied(), EMA()
    module._backend = before = Plain(torch.device("cpu"))
    weights = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    streams = torch.get_rng_state(), random.getstate()
    rate, group = module.optimizer.param_groups[0]["lr"], dict(module.optimizer.param_groups[0])
    module.show_loop(Unread([1, 2, 3]), Unread([1, 2]), max_epochs=2, handlers=[handler], accelerator="amp", seed=1)
    assert module._backend is before
    assert all(torch.equal(weights[name], tensor) for name, tensor in module.state_dict().items())
    assert torch.equal(streams[0], torch.get_rng_state())
    assert streams[1] == random.getstate()
    assert [module.first.training, module.last.training] == [False, True]
    assert all(parameter.requires_grad for parameter in module.parameters())
    assert not hasattr(module, "made")
    assert module.optimizer.param_groups[0]["lr"] is rate
    assert rate == 0.5
    assert module.optimizer.param_groups[0].keys() == group.keys()
    assert not module.optimizer.state
    assert handler.n_averaged == 0


def test_the_module_is_freed_at_once(line, batches):
    module = line()
    gc.collect()
    gc.disable()
    try:
        draw_loop(module, batches, batches, max_epochs=2, handlers=[EMA()])
        gone = weakref.ref(module)
        del module
        assert gone() is None
    finally:
        gc.enable()


def test_a_module_is_not_moved(line, batches, monkeypatch):
    class Elsewhere(Plain):
        def place(self, model):
            raise AssertionError("moved")

    backend = Elsewhere(torch.device("meta"))
    text = lines_of(draw_loop(line(), batches, batches, max_epochs=1, accelerator=backend))
    assert 'model.to("meta")' in text
    assert "for batch in backend.feed(train_data):" in text
    assert "refuse_non_finite(loss)" not in text  # it is looked at every log_every iterations


@pytest.mark.parametrize(
    ("error", "words", "settings"),
    [
        (SettingError, "show_loop has no setting 'max_epoch'. .*max_epochs", {"max_epoch": 3}),
        (SettingError, "fit needs an end", {"max_epochs": None}),
        (SettingError, "accumulate should be a whole number", {"accumulate": 0}),
        (SettingError, "monitor needs val_data", {"run_dir": "run", "monitor": "val/loss"}),
        (DataError, "train_data is empty", {"train": []}),
    ],
)
def test_what_fit_refuses_is_refused(line, batches, error, words, settings):
    train = settings.pop("train", batches)
    with pytest.raises(error, match=words):
        line().show_loop(train, **{"max_epochs": 1, **settings})


def test_an_optimizer_of_other_parameters_is_refused(line, batches):
    class Mine(line):
        def configure_optimizers(self):
            return torch.optim.SGD(nn.Linear(1, 1).parameters())

    with pytest.raises(ModuleError, match="is not one of Mine's"):
        Mine().show_loop(batches, max_epochs=1)


def test_a_monitor_whose_direction_nobody_knows_is_refused(line, batches, tmp_path):
    with pytest.raises(SettingError, match="val/score"):
        line().show_loop(batches, batches, max_epochs=1, run_dir=tmp_path, monitor="val/score")


def test_a_compiled_step(line, batches):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what the compiler says of itself when it is imported
        text = lines_of(draw_loop(line(), batches, batches, max_epochs=1, compile={"mode": "default"}))
    assert "training_step = torch.compile(model.training_step, mode='default')" in text
    assert "loss = training_step(batch)" in text
    assert "output = evaluation_step(batch)" in text
