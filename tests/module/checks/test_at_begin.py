"""What fit is given, refused before anything happens."""

import itertools

import pytest
import torch
from torch import nn

from framework import DataError, EventEnum, Events, ModuleError, SettingError, TrainModule, on
from framework.module.checks.at_begin import check_module, check_train_data, check_val_data, epochs_or_event
from framework.module.settings import FitSettings


def settings(**given):
    return FitSettings(**{**TrainModule.fit.__kwdefaults__, "max_epochs": 2, **given})


class Hooked:
    def on_completed(self): ...


class Marked:
    @on(Events.COMPLETED)
    def tell(self): ...


class OnEvaluation:
    def on_evaluation_completed(self): ...


class Idle:
    def __repr__(self):
        return "Idle()"


class Misspelt:
    def on_epoch_end(self): ...


class Wrong:
    @on(Events.COMPLETED)
    def tell(self, engine, more): ...


class Unknown:
    @on("GAME_WON")
    def tell(self): ...


class Games(EventEnum):
    GAME_WON = "game_won"


def test_a_module_and_handlers_that_work(line):
    check_module(line(), settings(handlers=[Hooked(), Marked(), OnEvaluation()]))


@pytest.mark.parametrize("method", ["training_step", "configure_optimizers"])
def test_what_fit_needs(line, method):
    module = type("Mine", (line,), {method: getattr(TrainModule, method)})()
    with pytest.raises(ModuleError, match=f"Mine has no {method}, which fit needs. Define {method} in the class"):
        check_module(module, settings())


def test_a_module_in_eval_mode(line):
    module = line()
    module.layer.eval()
    check_module(module, settings())  # a part may be
    module.train().training = False
    check_module(module, settings())  # or all but a part
    words = r"Line is in eval mode, so dropout and batch normalisation would not train. Call line.train\(\) before fit"
    with pytest.raises(ModuleError, match=words):
        check_module(module.eval(), settings())


def test_a_module_whose_hook_cannot_be_registered(line):
    module = type("Mine", (line,), {"tell": Wrong.tell})()
    with pytest.raises(ModuleError, match=r"Mine has a method that cannot be registered. .*tell"):
        check_module(module, settings())


@pytest.mark.parametrize(
    ("handler", "error", "words"),
    [
        (Hooked, SettingError, r"handlers should hold objects, got the class Hooked. Write Hooked\(...\)"),
        (Idle(), SettingError, r"handlers holds Idle\(\), which has no on_<event> method and none marked with @on\(...\)"),
        (Misspelt(), ModuleError, "Misspelt.on_epoch_end is no hook. Did you mean on_epoch_completed"),
        (Wrong(), ModuleError, "Wrong has a method that cannot be registered. .*tell"),
        (Unknown(), ModuleError, r"Unknown.tell is marked with @on\('GAME_WON'\), an event that nobody in this run brings"),
    ],
    ids=["a class", "no hooks", "misspelt", "signature", "event"],
)
def test_a_handler_that_would_not_work(line, handler, error, words):
    with pytest.raises(error, match=words):
        check_module(line(), settings(handlers=[handler]))


def test_a_handler_that_would_run_twice_or_elsewhere(line):
    module, handler = line(), Hooked()
    with pytest.raises(SettingError, match=r"handlers holds <.*Hooked.*> twice, so its hooks would run twice. Leave one out"):
        check_module(module, settings(handlers=[handler, Marked(), handler]))
    check_module(module, settings(handlers=[Hooked(), Hooked()]))
    with pytest.raises(SettingError, match=r"handlers holds the module itself, whose hooks run in any case. Leave it out"):
        check_module(module, settings(handlers=[module]))
    with pytest.raises(
        SettingError, match=r"handlers holds the TrainModule Line, whose hooks belong to its own fit. Write the hooks"
    ):
        check_module(module, settings(handlers=[line()]))


def test_a_fit_inside_another_of_the_same_module(line, batches):
    class Nested(line):
        def on_epoch_completed(self):
            other = line().fit(batches, max_epochs=1, progress=False)
            assert other.status == "completed"
            assert self.evaluate(batches)
            self.fit(batches, max_epochs=1, progress=False)

    module = Nested()
    for _ in range(2):
        with pytest.raises(ModuleError, match=r"fit was called while another fit trains this Nested: .* Train a copy"):
            module.fit(batches, max_epochs=1, progress=False)


def test_a_hook_that_was_assigned(line):
    module = line()
    module.on_completed = print
    with pytest.raises(ModuleError, match=r"Line assigns self.on_completed; it would never run as a hook"):
        check_module(module, settings())


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_fit_where_there_are_no_gradients(line, mode):
    module = line()
    with mode(), pytest.raises(ModuleError, match=r"inside torch.no_grad\(\) or torch.inference_mode\(\), .* Call it outside"):
        check_module(module, settings())


def test_a_module_made_where_there_are_no_gradients(line):
    with torch.inference_mode():
        module = line()
    with pytest.raises(ModuleError, match=r"Line has parameters that were made inside .* Make Line outside of it"):
        check_module(module, settings())


@pytest.mark.parametrize(("has", "lacks"), [("state_dict", "load_state_dict"), ("load_state_dict", "state_dict")])
def test_a_handler_with_half_of_a_state(line, has, lacks):
    handler = type("Half", (Hooked,), {has: lambda self, *state: {}})()
    with pytest.raises(SettingError, match=f"which has {has} but no {lacks}, so nothing of it would be saved .* Define both"):
        check_module(line(), settings(handlers=[handler]))


@pytest.mark.parametrize("setting", ["validate_every", "save_every"])
def test_an_event_that_the_run_does_not_have(line, setting):
    given = {setting: Games.GAME_WON, "run_dir": "run"}
    with pytest.raises(SettingError, match=rf"{setting}=.*GAME_WON.* is no event of this run: .*GAME_WON"):
        check_module(line(), settings(**given))
    check_module(type("Mine", (line,), {"events": (Games,)})(), settings(**given))


def test_training_data():
    batches = [torch.ones(1)]
    assert check_train_data(batches, settings()) is batches
    assert check_train_data(None, settings(epoch_length=3)) is None
    with pytest.raises(DataError, match="train_data=None needs epoch_length: the number of steps an epoch"):
        check_train_data(None, settings())
    with pytest.raises(DataError, match="train_data should be an iterable of batches"):
        check_train_data(3, settings())


@pytest.mark.parametrize("limits", [{"max_epochs": 2}, {"max_epochs": None, "max_iters": 3}, {"max_epochs": None, "max_time_s": 1}])
def test_an_iterator_for_several_epochs(limits):
    words = r"train_data is a generator, which gives its batches only once, .*\(train_data=make_batches, without the brackets\)"
    with pytest.raises(DataError, match=words):
        check_train_data((batch for batch in [1]), settings(**limits))
    check_train_data(itertools.cycle([1]), settings(**limits, epoch_length=2))


def test_an_iterator_for_one_epoch():
    batches = iter([1])
    assert check_train_data(batches, settings(max_epochs=1)) is batches


def test_evaluation_data_by_stage(line):
    batches = [torch.ones(1)]
    assert check_val_data(line(), None, settings()) == {}
    assert check_val_data(line(), batches, settings()) == {"val": batches}
    assert check_val_data(line(), {"easy": batches, "hard": batches}, settings()) == {"val/easy": batches, "val/hard": batches}


@pytest.mark.parametrize(
    "given", [{"limit_val_batches": 2}, {"validate_every": 2}, {"validate_every": Events.STARTED}, {"monitor": "val/loss"}]
)
def test_a_setting_that_needs_evaluation_data(line, given):
    name = next(iter(given))
    with pytest.raises(SettingError, match=f"{name} needs val_data, which was not given. Give it, or leave {name} out"):
        check_val_data(line(), None, settings(run_dir="run", **given))


def test_evaluation_data_without_a_step():
    class Mine(TrainModule):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(1, 1)

    with pytest.raises(ModuleError, match=r"Mine has no evaluation_step, which val_data needs. Define evaluation_step"):
        check_val_data(Mine(), [1], settings())


@pytest.mark.parametrize(("data", "keys"), [({}, r"\[\]"), ({1: [1]}, r"\[1\]"), ({"": [1]}, r"\[''\]")])
def test_a_mapping_of_evaluation_data_without_names(line, data, keys):
    with pytest.raises(DataError, match=rf"val_data as a mapping should hold batches by name, .* got the keys {keys}"):
        check_val_data(line(), data, settings())


def test_evaluation_data_that_is_used_up(line):
    with pytest.raises(DataError, match=r"val_data is a list_iterator, which gives its batches only once\. Give a list, a Data"):
        check_val_data(line(), iter([1]), settings())
    with pytest.raises(DataError, match=r"val_data\['hard'\] is a generator, which gives its batches only once"):
        check_val_data(line(), {"easy": [1], "hard": (batch for batch in [1])}, settings())
    with pytest.raises(DataError, match=r"val_data\['hard'\] should be an iterable of batches"):
        check_val_data(line(), {"hard": 1}, settings())


def test_a_number_counts_epochs():
    assert epochs_or_event(Events.STARTED) is Events.STARTED
    event = epochs_or_event(3)
    assert (event.name, event.every) == ("EPOCH_COMPLETED", 3)
