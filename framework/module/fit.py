"""`fit`: checks what was given, puts the parts together, runs the engine."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from framework.backends.base import Backend
from framework.backends.selector import select_backend
from framework.distributed.activations import checkpoint_activations
from framework.distributed.blocks import find_blocks
from framework.distributed.replicas import sync_batchnorm
from framework.engine.progress import load_progress
from framework.handlers.ema import EMA
from framework.metrics.direction import direction
from framework.module.assembly import Assembled, assemble
from framework.module.checks.at_begin import check_module, check_train_data, check_val_data, training_alone
from framework.module.ending import finish, leave
from framework.module.evaluation import logging_to, named_if_empty, raise_taken, restore_modes
from framework.module.loggers import Loggers, begin_fit
from framework.module.place import advised, note_place
from framework.module.ranks.agreed import share_signal
from framework.module.ranks.agreement import refuse_other_settings
from framework.module.ranks.own import settings_of_rank
from framework.module.ranks.strategies import afterwards, group_of, joined_for, mesh_of, parallel
from framework.module.ranks.streams import position_of_rank, seed_apart
from framework.module.registration import register
from framework.module.result import FitResult
from framework.module.resuming.chosen_weights import LastFit
from framework.module.resuming.comparison import describe_run, refuse_another, refuse_changes, refuse_other_seed
from framework.module.resuming.module_state import load_rest
from framework.module.resuming.past import LIMITS, Past, open_past, tell
from framework.module.resuming.provenance import write_provenance
from framework.module.resuming.run_folder import RunFolder
from framework.module.resuming.saver import Saver
from framework.module.resuming.snapshot import Snapshots, load_handlers, stateful
from framework.module.settings import FitSettings
from framework.module.step_events import fire_closed
from framework.module.stopping.boundary import Boundary
from framework.module.stopping.signals import StopSignals
from framework.module.stopping.slurm import in_job
from framework.module.trial.dry_run import DryRun, NoFolder
from framework.module.whereabouts import describe_place, watched
from framework.seeding import deterministic_algorithms, seed_all

if TYPE_CHECKING:
    from framework.module.train_module import TrainModule


def fit(module: TrainModule, train_data: Any, val_data: Any, settings: FitSettings) -> FitResult:
    """Trains `module`; see `TrainModule.fit`."""
    backend = select_backend(settings.accelerator, settings.precision)
    with joined_for(settings, backend.device) as group:
        check_module(module, settings)
        train = check_train_data(train_data, settings)
        val = check_val_data(module, val_data, settings)
        return _fit(module, train, val, settings_of_rank(settings, group), parallel(module, backend, settings, group))


def _fit(
    module: TrainModule,
    train: Iterable[Any] | None,
    val: Mapping[str, Iterable[Any]],
    settings: FitSettings,
    backend: Backend,
) -> FitResult:
    group = group_of(backend)
    if group is not None:
        refuse_other_settings(group, module, settings)
    modes = {part: part.training for part in module.modules()}
    signals = StopSignals(requeue=settings.run_dir is not None and not settings.dry_run and in_job())
    if group is not None:
        signals.several_come, signals.told = True, group.is_main
    with advised(), training_alone(module), ExitStack() as stack:
        stack.callback(restore_modes, modes)
        folder, past, rehearsal = None, None, None
        if settings.dry_run:
            rehearsal = stack.enter_context(DryRun(module, backend, (train, *val.values()), settings))
        elif settings.run_dir is not None:
            folder = RunFolder(settings.run_dir, settings.keep, in_background=settings.async_save, group=group)
            stack.enter_context(folder)
            past = open_past(folder, settings, partial(refuse_another, module, settings), group, mesh_of(backend))
            if past is not None and past.result is not None:
                module._take_weights(past.parts["model"], str(past.checkpoint.path))  # as after the call that trained it
                load_rest(module, past.parts["run"]["module"])
                load_handlers(stateful(settings.handlers), past.parts["handlers"])
                module._last_fit.best_checkpoint = past.result.best_checkpoint
                return past.result
        if settings.seed is not None and past is None:
            seed_all(settings.seed)
        stack.enter_context(deterministic_algorithms(settings.deterministic))
        if settings.checkpoint_activations:
            stack.enter_context(checkpoint_activations(module, find_blocks(module)))
        if settings.sync_batchnorm and group is not None:
            sync_batchnorm(module, backend.device)
        stack.enter_context(signals)
        loggers = stack.enter_context(Loggers(() if settings.dry_run else settings.loggers))
        result = _train(module, backend, train, val, settings, signals, folder, past, rehearsal, loggers)
        if group is not None:
            share_signal(group, signals)
        loggers.close(result.status, result.reason)
    if rehearsal is not None:
        result = rehearsal.tell(result)
    if signals.asked is None:
        return result
    return leave(result, signals, requeues=folder is not None and folder.writes)


def _train(
    module: TrainModule,
    backend: Backend,
    train: Iterable[Any] | None,
    val: Mapping[str, Iterable[Any]],
    settings: FitSettings,
    signals: StopSignals,
    folder: RunFolder | None,
    past: Past | None,
    rehearsal: DryRun | None,
    loggers: Loggers,
) -> FitResult:
    group = group_of(backend)
    seed = past.seed if past is not None else torch.initial_seed() if settings.seed is None else settings.seed
    if group is not None:
        seed = group.from_main("seed", seed)
    planned = settings
    if rehearsal is not None:
        settings = rehearsal.settings
    assembled = assemble(module, backend, train, val, settings, seed, planned)
    if group is not None and past is None:
        seed_apart(seed, group)
    engine, run, source = assembled.engine, assembled.run, assembled.source
    module._backend = afterwards(backend)
    module._last_fit = LastFit(ema=next((each for each in settings.handlers if isinstance(each, EMA)), None))
    saver = None
    with ExitStack() as stack:
        for each in assembled.sources:
            stack.callback(each.close)
        stack.callback(_untie, assembled, signals)
        stack.enter_context(logging_to(module, run.recorder))
        stack.push(lambda kind, error, trace: fire_closed(engine, error))
        if folder is not None:
            run.curves = folder.curves
            saver = _make_saver(module, backend, assembled, settings, folder, past, seed)
        elif rehearsal is not None and rehearsal.folder is not None:
            saver = _make_saver(module, backend, assembled, planned, rehearsal.folder, past, seed)
        boundary = Boundary(run, signals, saver, settings, group)
        boundary.safe_fetch = source is None or source.reads_ahead_safely
        signals.on_first = None if group is not None else lambda frame: boundary.on_signal(frame, engine)
        if settings.hang_timeout_s is not None:
            stack.enter_context(watched(settings.hang_timeout_s, assembled, boundary, saver, group))
        note_place(engine, partial(describe_place, boundary=boundary, backend=backend, folder=folder))
        register(engine, run, module, settings, saver, boundary, past, assembled.length, group)
        run.sinks = begin_fit(loggers, module, settings, seed, run.curves, past)
        if rehearsal is not None:
            rehearsal.attach(assembled)
        stack.enter_context(named_if_empty("train_data", train, run.data))
        _run(module, assembled, settings, saver, past)
        raise_taken(engine)
        if rehearsal is not None:
            rehearsal.conclude(assembled)
    run.stop = boundary.reason(engine, saved=folder is not None)
    result = run.result(engine)
    if folder is None:
        return result
    result = finish(folder, result, group)
    module._last_fit.best_checkpoint = result.best_checkpoint
    return result


def _make_saver(
    module: TrainModule,
    backend: Backend,
    assembled: Assembled,
    settings: FitSettings,
    folder: RunFolder | NoFolder,
    past: Past | None,
    seed: int,
) -> Saver:
    """Returns what writes the checkpoints, after looking whether the run in the folder is this one."""
    run, source = assembled.run, assembled.source
    if settings.monitor is not None:
        direction(settings.monitor, settings.mode, assembled.engine.state.directions)  # unknown, it is an error now
    data = {} if source is None else {"samples": source.position().get("length"), **source.traits()}
    now = describe_run(module, settings, assembled.optimizers, assembled.schedules, run.epoch_length, data)
    if past is not None:
        refuse_other_seed(settings.seed, past.seed, str(past.checkpoint.path))
        were, group = past.parts["run"].get("ranks") or [None], group_of(backend)
        processes = len(were), 1 if group is None else group.world_size
        refuse_changes(past.parts["run"]["setup"], now, settings.allow_changes, str(past.checkpoint.path), processes)
    facts = {
        "class": type(module).__name__,
        "hparams": module._hparams,
        "limits": {name: getattr(settings, name) for name in LIMITS},
    }
    snapshots = Snapshots(module, backend, assembled.optimizers, assembled.schedules, run, source, settings.handlers, seed)
    if isinstance(folder, RunFolder) and folder.writes:
        write_provenance(folder.path, module, settings, backend, seed, None if past is None else past.iteration)
    folder.write_status(status="running", reason="", iteration=0, epoch=0, metrics={})
    return Saver(folder, snapshots, run, settings, facts, now)


def _untie(assembled: Assembled, signals: StopSignals) -> None:
    """Lets go of what holds each other, so that all of it is freed at once: engine, module, optimizers."""
    run, source = assembled.run, assembled.source
    signals.on_first = run.on_validate = None
    run.evaluations = ()
    if source is not None:
        source.clock = None


def _run(module: TrainModule, assembled: Assembled, settings: FitSettings, saver: Saver | None, past: Past | None) -> None:
    """Runs the engine: from the beginning, or from where the run in the folder is."""
    engine, run, source = assembled.engine, assembled.run, assembled.source
    max_epochs, max_iters = nearer_limit(settings, run.epoch_length)
    if settings.progress and source is not None and (changed := source.describe()) is not None:
        print(f'train_data: {changed}. data_order="loader" leaves it as it is.', flush=True)  # noqa: T201  # as the line below
    if past is not None:
        if settings.progress:
            print(tell(past), flush=True)  # noqa: T201  # one line, beside the progress
        if source is not None:
            source.load_position(position_of_rank(past.parts["run"], assembled.group))
    if past is not None and past.after is not None:
        run.restarting = True
        run.skip_taken(past.parts["run"])
        load_progress(
            engine,
            past.parts["run"]["progress"],
            run.data,
            max_epochs=max_epochs,
            max_iters=max_iters,
            stay_ended=not past.prolonged_by(settings),
        )
        engine.run()
        return
    if saver is not None and past is not None:
        saver.restore(engine, past.parts)
        past.release()
    elif saver is not None and not any(nn.parameter.is_lazy(each) for each in module.parameters()):
        saver.save(engine, None)
    engine.run(run.data, max_epochs=max_epochs, max_iters=max_iters, epoch_length=run.epoch_length)


def nearer_limit(settings: FitSettings, length: int | None) -> tuple[int | None, int | None]:
    """Returns max_epochs and max_iters, of two the one that is reached first: an engine takes only one, and takes one."""
    epochs, iterations = settings.max_epochs, settings.max_iters
    if epochs is None and iterations is None:
        return sys.maxsize, None  # max_time_s alone
    if epochs is None or iterations is None:
        return epochs, iterations
    return (epochs, None) if length is None or epochs * length <= iterations else (None, iterations)
