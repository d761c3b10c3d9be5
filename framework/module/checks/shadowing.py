"""Names that belong to TrainModule and torch.nn.Module: what a user's attribute of that name would break, refused."""

from __future__ import annotations

from functools import partialmethod
from typing import Any

from torch import nn

from framework.backends.base import Backend
from framework.engine.events import EventEnum
from framework.errors import ModuleError

VERBS = frozenset(
    {"fit", "evaluate", "predict", "predict_batches", "show_loop", "log", "load", "load_weights", "export", "device", "declares"}
)
"""What TrainModule provides and nobody redefines."""

DECLARATIONS = frozenset(
    {
        *("training_step", "evaluation_step", "prediction_step"),
        *("configure_optimizers", "configure_schedulers", "configure_metrics", "configure_sharding"),
    }
)
"""What a class defines, as methods."""

INTERNAL = frozenset({"_recorder", "_backend", "_backend_for", "_hparams", "_last_fit", "_take_from", "_take_weights"})
"""What TrainModule keeps for itself."""

TORCH = frozenset(
    {
        *("train", "eval", "training", "forward", "to", "zero_grad", "state_dict", "load_state_dict", "get_submodule"),
        *("parameters", "named_parameters", "buffers", "named_buffers", "modules", "named_modules", "children", "named_children"),
        *("get_extra_state", "set_extra_state", "register_buffer", "register_parameter", "register_module", "add_module"),
    }
)
"""Methods of torch.nn.Module that a run calls; a method of a user's may override them."""

GUARDED = VERBS | DECLARATIONS | (TORCH - {"training"})
"""Names to which nothing is assigned in an object, a function in place of one of torch's methods apart."""

_OF_DEVICE = "Leave it out: fit moves the module to its accelerator, and self.device tells where it is."


def check_shadowing(cls: type, name: str, declared: Any) -> None:
    """Refuses an attribute of a class that hides what TrainModule or torch.nn.Module has under that name.

    Args:
        cls: a subclass of TrainModule.
        name: the name of the attribute.
        declared: its value, as the class holds it.

    Raises:
        ModuleError: it hides something.
    """
    if name in VERBS or name in INTERNAL:
        what = "method" if _is_method(declared) or isinstance(declared, property) else "attribute"
        remedy = f"Give the {what} another name; to change what fit does use the steps, the configure_ methods and hooks."
        raise ModuleError(
            f"{cls.__name__} redefines {name}, which TrainModule provides. {_OF_DEVICE if name == 'device' else remedy}"
        )
    if name == "training" or (name in TORCH and not _is_method(declared)):
        raise ModuleError(
            f"{cls.__name__}.{name} = {declared!r} hides {name} of torch.nn.Module, which a run needs. Give it another name."
        )
    if name == "events" and _is_events(declared):
        raise ModuleError(
            f"{cls.__name__}.events is the class {declared.__name__}; it is a tuple: events = ({declared.__name__},)."
        )


def refuse_assignment(owner: nn.Module, name: str, value: Any) -> None:
    """Refuses what was assigned to one of the `GUARDED` names of an object, but a function in place of a method of torch's.

    Raises:
        ModuleError: it would hide what is there, or never be seen.
    """
    if name in TORCH and callable(value) and not isinstance(value, nn.Module):
        return
    owners = type(owner).__name__
    if name in DECLARATIONS:
        raise ModuleError(
            f"{owners} assigns self.{name}; it is a method of the class, so that it can be checked. "
            f"Write def {name}(self, ...) in the class, and call from there what was to be assigned."
        )
    remedy = _OF_DEVICE if name == "device" else f"Give the attribute another name, such as self.my_{name}."
    whose = "torch.nn.Module" if name in TORCH else "TrainModule"
    raise ModuleError(f"{owners} assigns self.{name} = {_short(value)}, but {name} is what {whose} provides. {remedy}")


def refuse_before_init(owner: nn.Module, name: str) -> None:
    """Refuses a submodule, parameter or buffer that is assigned before torch.nn.Module is ready for it.

    Raises:
        ModuleError: `super().__init__()` has not been called.
    """
    if "_parameters" not in vars(owner):
        cls = type(owner).__name__
        raise ModuleError(
            f"{cls} assigns self.{name} before super().__init__() was called. Make super().__init__() the first line of "
            f"{cls}.__init__."
        ) from None


def check_object(module: nn.Module) -> None:
    """Refuses a module that was never initialised, or whose attributes hide what a run needs.

    Raises:
        ModuleError: saying which.
    """
    cls = type(module).__name__
    if not isinstance(module, nn.Module):
        raise ModuleError(
            f"A method of the module was called on its class, so that this {cls} came in the place of the module. Make the module "
            "first: model = MyModule(), then model.fit(train_data, val_data)."
        )
    own = vars(module)
    if "_parameters" not in own or "_recorder" not in own:
        raise ModuleError(
            f"{cls}.__init__ does not call super().__init__(), so the module is not ready. Make super().__init__() the first "
            f"line of {cls}.__init__."
        )
    usables = {
        "_recorder": hasattr(own["_recorder"], "log"),
        "_backend": isinstance(own["_backend"], Backend),
        "_last_fit": hasattr(own["_last_fit"], "best_checkpoint"),
    }
    for name, usable in usables.items():
        if own[name] is not None and not usable:
            raise ModuleError(
                f"{cls} assigns self.{name} = {_short(own[name])}, but {name} is what TrainModule uses itself. Give the attribute "
                "another name."
            )
    events = own.get("events", ())
    if any(_is_events(each) for each in (events if isinstance(events, tuple | list) else (events,))):
        raise ModuleError(
            f"{cls} assigns self.events; hooks are checked when the class is made. Write events = (...) in the class."
        )


def _is_events(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, EventEnum)


def _is_method(declared: Any) -> bool:
    return callable(declared) or isinstance(declared, staticmethod | classmethod | partialmethod)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 and "\n" not in text else f"<{type(value).__name__}>"
