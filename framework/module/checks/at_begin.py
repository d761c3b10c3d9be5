"""What `fit` is given, checked before anything else happens."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from framework.engine.engine import Engine
from framework.engine.events import Events
from framework.errors import DataError, ModuleError, SettingError
from framework.module.checks.shadowing import check_object
from framework.module.checks.unregistered import refuse_unregistered
from framework.module.data_source import check_data, is_one_shot
from framework.module.declared import Declared
from framework.module.hooks import check_assigned_hooks, check_hooks, own_events, register_events_of, register_hooks
from framework.module.settings import FitSettings

if TYPE_CHECKING:
    from framework.module.train_module import TrainModule

_training: set[int] = set()  # ids of the modules that a fit is training
_OF_VAL_DATA = {"limit_val_batches": None, "validate_every": 1, "monitor": None}


def check_module(module: TrainModule, settings: FitSettings) -> None:
    """Refuses a module that cannot be trained, and handlers and events that cannot be registered.

    Raises:
        ModuleError, SettingError: saying which.
    """
    name = type(module).__name__
    check_object(module)
    if id(module) in _training:
        raise ModuleError(
            f"fit was called while another fit trains this {name}: in one of its steps, hooks or handlers, or in another thread. "
            "Train a copy (copy.deepcopy), or call fit again when the first has returned."
        )
    _refuse_without_gradients(module)
    check_assigned_hooks(module)
    if module._backend is None:  # else it holds what its own steps have left there
        refuse_unregistered(module)
    for method in ("training_step", "configure_optimizers"):
        if not module.declares(method):
            raise ModuleError(f"{name} has no {method}, which fit needs. Define {method} in the class.")
    if all(not part.training for part in module.modules()):
        raise ModuleError(
            f"{name} is in eval mode, so dropout and batch normalisation would not train. Call {name.lower()}.train() before fit."
        )
    trial = Engine(lambda engine, batch: None)
    for target in (*settings.handlers, module):
        register_events_of(trial, target)
    _check_handlers(module, settings.handlers, trial)
    _try_hooks(trial, module)
    for setting in ("validate_every", "save_every"):
        try:
            trial.add_event_handler(epochs_or_event(getattr(settings, setting)), lambda: None)
        except ValueError as error:
            raise SettingError(f"{setting}={getattr(settings, setting)!r} is no event of this run: {error}") from error


def _refuse_without_gradients(module: TrainModule) -> None:
    if not torch.is_grad_enabled():
        raise ModuleError(
            "fit was called inside torch.no_grad() or torch.inference_mode(), where nothing can be trained. Call it outside."
        )
    if any(not nn.parameter.is_lazy(each) and each.is_inference() for each in module.parameters()):
        name = type(module).__name__
        raise ModuleError(
            f"{name} has parameters that were made inside torch.inference_mode(), which cannot be trained. Make {name} outside of "
            "it."
        )


def _check_handlers(module: TrainModule, handlers: Sequence[Any], trial: Engine) -> None:
    for position, handler in enumerate(handlers):
        if isinstance(handler, type):
            raise SettingError(f"handlers should hold objects, got the class {handler.__name__}. Write {handler.__name__}(...).")
        if handler is module:
            raise SettingError("handlers holds the module itself, whose hooks run in any case. Leave it out.")
        if isinstance(handler, Declared):
            raise SettingError(
                f"handlers holds the TrainModule {type(handler).__name__}, whose hooks belong to its own fit. Write the hooks in a "
                "class that is no module."
            )
        if any(handler is other for other in handlers[:position]):
            raise SettingError(f"handlers holds {handler!r} twice, so its hooks would run twice. Leave one out.")
        names = [name for cls in type(handler).__mro__ for name in vars(cls)]
        check_hooks(type(handler), names, own_events(type(module)))
        check_assigned_hooks(handler)
        if _try_hooks(trial, handler) == 0:
            raise SettingError(
                f"handlers holds {handler!r}, which has no on_<event> method and none marked with @on(...): it would never run."
            )
        saved, loaded = (callable(getattr(handler, name, None)) for name in ("state_dict", "load_state_dict"))
        if saved != loaded:
            has, lacks = ("state_dict", "load_state_dict") if saved else ("load_state_dict", "state_dict")
            raise SettingError(
                f"handlers holds {handler!r}, which has {has} but no {lacks}, so nothing of it would be saved with the run. Define "
                "both, or neither."
            )


def _try_hooks(trial: Engine, target: Any) -> int:
    try:
        return register_hooks(trial, target)
    except ValueError as error:
        raise ModuleError(f"{type(target).__name__} has a method that cannot be registered. {error}") from error


@contextmanager
def training_alone(module: TrainModule) -> Iterator[None]:
    """Lets `check_module` refuse another `fit` of the module while the block runs."""
    _training.add(id(module))
    try:
        yield
    finally:
        _training.discard(id(module))


def check_train_data(data: Any, settings: FitSettings) -> Iterable[Any] | None:
    """Returns the training data as an iterable of batches, None where there are none.

    Raises:
        DataError: it cannot be used.
    """
    if data is None:
        if settings.epoch_length is None:
            raise DataError("train_data=None needs epoch_length: the number of steps an epoch; each step then gets None as batch.")
        return None
    checked = check_data(data, "train_data")
    passes = settings.max_epochs is None or settings.max_epochs > 1
    if is_one_shot(checked) and passes and settings.epoch_length is None:
        raise DataError(
            f"train_data is a {type(checked).__name__}, which gives its batches only once, but the run may take several epochs. "
            "Give a function that makes it (train_data=make_batches, without the brackets), a list or a DataLoader; "
            "or epoch_length for an endless one."
        )
    return checked


def check_val_data(module: TrainModule, data: Any, settings: FitSettings) -> dict[str, Iterable[Any]]:
    """Returns the data to evaluate on by stage: "val", or "val/<name>" for each of a mapping.

    Raises:
        DataError, ModuleError, SettingError: it cannot be used, or is missing where something needs it.
    """
    if data is None:
        given = [name for name, default in _OF_VAL_DATA.items() if getattr(settings, name) != default]
        if given:
            raise SettingError(f"{given[0]} needs val_data, which was not given. Give it, or leave {given[0]} out.")
        return {}
    if not module.declares("evaluation_step"):
        raise ModuleError(
            f"{type(module).__name__} has no evaluation_step, which val_data needs. Define evaluation_step(self, batch), returning "
            "(y_pred, y) for the metrics or a mapping of scalars; or leave val_data out."
        )
    if isinstance(data, Mapping):
        if not data or not all(isinstance(name, str) and name for name in data):
            raise DataError(
                f"val_data as a mapping should hold batches by name, such as {{'easy': loader}}; got the keys {list(data)}."
            )
        return {f"val/{name}": _reusable(loader, f"val_data[{name!r}]") for name, loader in data.items()}
    return {"val": _reusable(data, "val_data")}


def _reusable(data: Any, argument: str) -> Iterable[Any]:
    checked = check_data(data, argument)
    if is_one_shot(checked):
        raise DataError(
            f"{argument} is a {type(checked).__name__}, which gives its batches only once. Give a list, a DataLoader, or a "
            "function that makes the batches anew."
        )
    return checked


def epochs_or_event(every: Any) -> Any:
    """Returns the event of a setting that counts epochs or is an event."""
    return Events.EPOCH_COMPLETED(every=every) if isinstance(every, int) else every
