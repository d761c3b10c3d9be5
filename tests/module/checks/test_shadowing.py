"""An attribute that hides what a run needs: refused when the class is made, when it is assigned, or when fit begins."""

import functools

import pytest
import torch
from torch import nn

from framework import EventEnum, ModuleError, Plain, TrainModule
from framework.module.checks.shadowing import DECLARATIONS, GUARDED, INTERNAL, TORCH, VERBS, check_object


class Games(EventEnum):
    GAME_WON = "game_won"


def refusal(name, value):
    with pytest.raises(ModuleError) as error:
        type("Net", (TrainModule,), {name: value})
    return str(error.value)


def assigned(line, name, value):
    class Net(line):
        def __init__(self):
            super().__init__()
            setattr(self, name, value)

    return Net


def test_every_name_of_ours_is_guarded():
    bases = [base for base in TrainModule.__mro__ if not issubclass(nn.Module, base)]
    names = {name for base in bases for name in vars(base) if not name.startswith("__")}
    instance = vars(TrainModule()).keys() - vars(nn.Module()).keys()
    assert names | instance == {*VERBS, *DECLARATIONS, *INTERNAL, "events"}


def test_the_names_of_torch_are_there():
    assert TORCH - {"training"} <= set(dir(nn.Module))


@pytest.mark.parametrize("name", sorted(VERBS | INTERNAL))
@pytest.mark.parametrize(("value", "what"), [(3, "attribute"), (property(lambda self: 3), "method"), (lambda self: 3, "method")])
def test_ours_are_not_redefined(name, value, what):
    message = refusal(name, value)
    assert message.startswith(f"Net redefines {name}, which TrainModule provides. ")
    assert f"Give the {what} another name; to change what fit does use the steps" in message or name == "device"


def test_what_to_do_without_a_device():
    assert refusal("device", "cuda").endswith(
        "Leave it out: fit moves the module to its accelerator, and self.device tells where it is."
    )


@pytest.mark.parametrize("name", sorted(TORCH))
@pytest.mark.parametrize("value", [None, True, [], property(lambda self: None)], ids=str)
def test_what_torch_has_is_overridden_by_methods_only(name, value):
    if (name, value) == ("training", None):
        return  # as if it were not there
    message = refusal(name, value)
    assert message == f"Net.{name} = {value!r} hides {name} of torch.nn.Module, which a run needs. Give it another name."


@pytest.mark.parametrize("wrap", [lambda function: function, staticmethod, classmethod, functools.partialmethod])
def test_methods_may_override_those_of_torch(wrap):
    for name in ("forward", "train", "state_dict", "parameters"):
        type("Net", (TrainModule,), {name: wrap(lambda *_: None)})


def test_events_are_a_tuple():
    assert refusal("events", Games) == "Net.events is the class Games; it is a tuple: events = (Games,)."
    type("Net", (TrainModule,), {"events": (Games,), "on_game_won": lambda self: None})


@pytest.mark.parametrize("name", sorted(VERBS - {"device"}))
@pytest.mark.parametrize(
    "value", [{}, nn.Linear(1, 1), nn.Parameter(torch.ones(1)), print], ids=["dict", "layer", "weight", "function"]
)
def test_nothing_is_assigned_to_a_verb(line, name, value):
    with pytest.raises(
        ModuleError, match=rf"Net assigns self.{name} = .*, but {name} is what TrainModule provides. .* self.my_{name}\."
    ):
        assigned(line, name, value)()


@pytest.mark.parametrize("name", sorted(DECLARATIONS))
def test_declarations_are_methods_of_the_class(line, name):
    words = rf"Net assigns self.{name}; it is a method of the class, .* Write def {name}\(self, ...\) in the class"
    with pytest.raises(ModuleError, match=words):
        assigned(line, name, lambda batch: None)()


@pytest.mark.parametrize("name", sorted(TORCH - {"training"}))
@pytest.mark.parametrize("value", [True, [], nn.Linear(1, 1)], ids=["flag", "list", "layer"])
def test_no_value_hides_what_torch_has(line, name, value):
    with pytest.raises(ModuleError, match=rf"Net assigns self.{name} = .*, but {name} is what torch.nn.Module provides"):
        assigned(line, name, value)()


def test_a_long_value_is_told_by_its_type(line):
    with pytest.raises(ModuleError, match=r"self.log = <list>, but"):
        assigned(line, "log", [1.0] * 100)()


def test_a_function_may_take_the_place_of_a_method_of_torch(line, batches):
    class Net(line):
        def __init__(self):
            super().__init__()
            self.forward = functools.partial(self.layer)

    assert Net().fit(batches, max_epochs=1, progress=False).status == "completed"
    assert "training" not in GUARDED


@pytest.mark.parametrize("verb", ["fit", "evaluate", "predict", "predict_batches"])
@pytest.mark.parametrize("init", [lambda self: None, nn.Module.__init__], ids=["nothing", "that of torch"])
def test_a_module_that_was_not_initialised(line, batches, verb, init):
    module = type("Bare", (line,), {"__init__": init})()
    words = (
        r"Bare.__init__ does not call super\(\).__init__\(\), so the module is not ready. Make .* the first line of Bare.__init__"
    )
    with pytest.raises(ModuleError, match=words):
        getattr(module, verb)(batches, **({"max_epochs": 1} if verb == "fit" else {}))


def test_a_verb_that_is_called_on_the_class(line, batches):
    words = r"on its class, so that this list came in the place of the module\. Make the module first: model = MyModule\(\)"
    with pytest.raises(ModuleError, match=words):
        line.fit(batches, batches, max_epochs=1)


@pytest.mark.parametrize("name", ["_recorder", "_backend", "_last_fit"])
def test_what_trainmodule_keeps_for_itself(line, batches, name):
    words = rf"Net assigns self.{name} = 'mine', but {name} is what TrainModule uses itself. Give the attribute another name"
    with pytest.raises(ModuleError, match=words):
        assigned(line, name, "mine")().fit(batches, max_epochs=1)
    module = line()
    module._backend = Plain(torch.device("cpu"))
    check_object(module)


@pytest.mark.parametrize("events", [(Games,), [Games], Games])
def test_events_are_not_assigned(line, batches, events):
    words = r"Net assigns self.events; hooks are checked when the class is made. Write events = \(...\) in the class"
    with pytest.raises(ModuleError, match=words):
        assigned(line, "events", events)().fit(batches, max_epochs=1)


def test_events_of_another_kind_are_the_users_own(line):
    check_object(assigned(line, "events", [1, 2])())
