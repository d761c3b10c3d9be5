"""`fit`: checks what was given, puts the parts together, runs the engine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from framework.backends.base import Backend
from framework.backends.selector import select_backend
from framework.engine.engine import Engine
from framework.engine.events import Events
from framework.engine.signature import accepts
from framework.errors import DataError, ModuleError, SettingError
from framework.handlers.progress import Progress
from framework.metrics.recorder import Recorder
from framework.module.adapter import compiled, make_trainer
from framework.module.data_source import check_data, is_one_shot, length_of
from framework.module.evaluation import Evaluation, logging_to, named_if_empty, raise_taken, restore_modes
from framework.module.hooks import check_hooks, register_hooks
from framework.module.optimizers import named_optimizers
from framework.module.result import FitResult
from framework.module.run import Run
from framework.module.schedules import Schedules
from framework.module.settings import FitSettings
from framework.module.step_events import fire_closed
from framework.seeding import seed_all

if TYPE_CHECKING:
    from framework.module.train_module import TrainModule


def fit(module: TrainModule, train_data: Any, val_data: Any, settings: FitSettings) -> FitResult:
    """Trains `module`; see `TrainModule.fit`."""
    _check_module(module, settings)
    train = _check_train_data(train_data, settings)
    val = _check_val_data(module, val_data, settings)
    backend = select_backend(settings.accelerator, settings.precision)
    if settings.seed is not None:
        seed_all(settings.seed)
    modes = {part: part.training for part in module.modules()}
    try:
        with _deterministic(settings.deterministic):
            return _train(module, backend, train, val, settings)
    finally:
        restore_modes(modes)


def _train(
    module: TrainModule, backend: Backend, train: Iterable[Any] | None, val: Mapping[str, Iterable[Any]], settings: FitSettings
) -> FitResult:
    replaced = backend.place(module)
    optimizers = named_optimizers(module.configure_optimizers(), type(module).__name__)
    backend.adopt(module, optimizers, replaced)
    length = _epoch_length(train, settings)
    schedules = _schedules(module, optimizers, _total_steps(settings, length))
    if schedules.monitored and not val:
        monitor = schedules.monitored[0][1]
        raise DataError(f"Schedule(monitor={monitor!r}) needs val_data, without which it would never step. Give val_data to fit.")
    recorder = Recorder("train", reads_cost_nothing=backend.reads_cost_nothing)
    seed = torch.initial_seed() if settings.seed is None else settings.seed
    compiles = None if settings.compile_options is None else partial(compiled, backend=backend, options=settings.compile_options)
    evaluations = [
        (Evaluation(module, backend, stage, settings.handlers, seed, compiles), data, settings.limit_val_batches)
        for stage, data in val.items()
    ]
    run = Run(module, recorder, schedules, evaluations, settings, None if train is None else backend.feed(train), length)
    on_stepped = schedules.step_after if schedules.by_step else None
    engine, run.parts = make_trainer(module, backend, optimizers, settings, recorder, on_stepped)
    counter = run.parts.step.counter
    engine.state.stage = "train"
    engine.state.seed = seed
    engine.state.optimizers = optimizers
    engine.state.optimizer_steps = counter.steps
    engine.state.grad_norms = counter.grad_norms
    _register(engine, run, module, settings)
    module._backend = backend
    with logging_to(module, recorder):
        try:
            with named_if_empty("train_data", train, run.data):
                max_epochs, max_iters = _nearer_limit(settings, length)
                engine.run(run.data, max_epochs=max_epochs, max_iters=max_iters, epoch_length=length)
        finally:
            fire_closed(engine)
    raise_taken(engine)
    return run.result(engine)


def _register(engine: Engine, run: Run, module: TrainModule, settings: FitSettings) -> None:
    """Registers every handler of a run. Their order here is the order in which they run."""
    add = engine.add_event_handler
    add(Events.EPOCH_STARTED, run.begin_epoch)
    add(Events.TERMINATE | Events.INTERRUPT, run.read_values)
    if run.one_pass:
        add(Events.DATALOADER_STOP_ITERATION, run.refuse_short_pass)
    add(Events.TERMINATE | Events.TERMINATE_SINGLE_EPOCH | Events.EPOCH_COMPLETED, run.close_window)
    add(Events.EPOCH_COMPLETED, run.stop_without_data)
    add(Events.EPOCH_COMPLETED, run.summarise_epoch)
    add(Events.EPOCH_COMPLETED, run.step_epoch_schedules)
    if run.evaluations:
        add(_validation_event(settings), run.validate)
    add(Events.COMPLETED, run.summarise_rest)
    add(Events.INTERRUPT, run.note_interrupt)
    if settings.max_iters is not None and settings.max_epochs is not None and run.epoch_length is None:
        add(Events.ITERATION_COMPLETED(once=settings.max_iters), run.stop_at_max_iters)
    if settings.progress:
        register_hooks(engine, Progress(run.recorder))
    for target in (*settings.handlers, module):
        register_hooks(engine, target)
    add(Events.ITERATION_COMPLETED(every=settings.log_every), run.read_values)  # with what the hooks have logged
    add(Events.EPOCH_COMPLETED, run.close_row)
    add(Events.COMPLETED, run.close_row)


def _validation_event(settings: FitSettings) -> Any:
    every = settings.validate_every
    return Events.EPOCH_COMPLETED(every=every) if isinstance(every, int) else every


def _nearer_limit(settings: FitSettings, length: int | None) -> tuple[int | None, int | None]:
    """Returns max_epochs and max_iters, of two the one that is reached first: an engine takes only one."""
    epochs, iterations = settings.max_epochs, settings.max_iters
    if epochs is None or iterations is None:
        return epochs, iterations
    return (epochs, None) if length is None or epochs * length <= iterations else (None, iterations)


def _check_module(module: TrainModule, settings: FitSettings) -> None:
    name = type(module).__name__
    for method in ("training_step", "configure_optimizers"):
        if not module.declares(method):
            raise ModuleError(f"{name} has no {method}, which fit needs. Define {method} in the class.")
    if all(not part.training for part in module.modules()):
        raise ModuleError(
            f"{name} is in eval mode, so dropout and batch normalisation would not train. Call {name.lower()}.train() before fit."
        )
    trial = Engine(lambda engine, batch: None)
    for handler in settings.handlers:
        if isinstance(handler, type):
            raise SettingError(f"handlers should hold objects, got the class {handler.__name__}. Write {handler.__name__}(...).")
        check_hooks(type(handler), [name for cls in type(handler).__mro__ for name in vars(cls)])
        if _try_hooks(trial, handler) == 0:
            raise SettingError(
                f"handlers holds {handler!r}, which has no on_<event> method and none marked with @on(...): it would never run."
            )
    _try_hooks(trial, module)
    try:
        trial.add_event_handler(_validation_event(settings), lambda: None)
    except ValueError as error:
        raise SettingError(f"validate_every={settings.validate_every!r} is no event of this run: {error}") from error


def _try_hooks(trial: Engine, target: Any) -> int:
    try:
        return register_hooks(trial, target)
    except ValueError as error:
        raise ModuleError(f"{type(target).__name__} has a method that cannot be registered. {error}") from error


def _check_train_data(data: Any, settings: FitSettings) -> Iterable[Any] | None:
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


def _check_val_data(module: TrainModule, data: Any, settings: FitSettings) -> dict[str, Iterable[Any]]:
    if data is None:
        if settings.limit_val_batches is not None or settings.validate_every != 1:
            raise SettingError(
                "validate_every and limit_val_batches need val_data, which was not given. Give it, or leave them out."
            )
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


def _epoch_length(train: Any, settings: FitSettings) -> int | None:
    if settings.epoch_length is not None:
        return settings.epoch_length
    length, limit = length_of(train), settings.limit_train_batches
    return length if limit is None or length is None else min(length, limit)


def _total_steps(settings: FitSettings, length: int | None) -> int | None:
    """Returns the number of optimizer steps of the whole run, None where the length of an epoch is unknown."""
    if length is None:
        return settings.max_iters if settings.accumulate == 1 and settings.max_epochs is None else None
    iterations = min(
        settings.max_iters if settings.max_iters is not None else float("inf"),
        settings.max_epochs * length if settings.max_epochs is not None else float("inf"),
    )
    epochs, rest = divmod(int(iterations), length)
    return epochs * -(-length // settings.accumulate) + -(-rest // settings.accumulate)


def _schedules(module: TrainModule, optimizers: Mapping[str, Any], total_steps: int | None) -> Schedules:
    configure = module.configure_schedulers
    knows_total = accepts(configure, ("optimizers", "total_steps"), {})
    configured = configure(optimizers, total_steps) if knows_total else configure(optimizers)  # type: ignore[call-arg]
    return Schedules(configured, optimizers, type(module).__name__)


@contextmanager
def _deterministic(wanted: bool) -> Iterator[None]:
    """Makes torch choose deterministic algorithms while the block runs."""
    if not wanted:
        yield
        return
    enabled, warn_only = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(enabled, warn_only=warn_only)
        torch.backends.cudnn.benchmark = benchmark
