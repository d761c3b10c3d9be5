"""Every handler of a run, in the order in which they run."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from framework.distributed.group import Group
from framework.engine.engine import Engine
from framework.engine.events import Events
from framework.handlers.progress import Progress
from framework.module.checks.at_begin import epochs_or_event
from framework.module.checks.drift import Drift
from framework.module.checks.idle import Idle
from framework.module.hooks import register_events_of, register_hooks
from framework.module.pass_length import PassLength
from framework.module.ranks.agreement import Agreement
from framework.module.resuming.past import Past
from framework.module.resuming.saver import WITH_BATCH, Saver
from framework.module.run import Run
from framework.module.settings import FitSettings
from framework.module.step_events import StepEvents
from framework.module.stopping.boundary import Boundary, watch
from framework.steps.yielded_losses import YieldedLosses

if TYPE_CHECKING:
    from framework.module.train_module import TrainModule


def register(
    engine: Engine,
    run: Run,
    module: TrainModule,
    settings: FitSettings,
    saver: Saver | None,
    boundary: Boundary,
    past: Past | None,
    length: Callable[[], int | None],
    group: Group | None = None,
) -> None:
    """Registers every handler of a run. Their order here is the order in which they run. `length` is that of a pass, now."""
    add = engine.add_event_handler
    if group is not None:
        add(Events.ITERATION_STARTED, partial(_tell_iteration, group))
    if settings.max_epochs is None and settings.max_iters is None:
        add(Events.STARTED, run.go_on_without_limit)
    add(Events.EPOCH_STARTED, run.begin_epoch)
    lengths = PassLength(run, settings, length) if run.one_pass and run.data is not None else None
    if lengths is not None:
        add(Events.EPOCH_STARTED, lengths.take)
    step = run.parts.step
    idle = Idle(engine.state.optimizers, step.counter, yields=isinstance(step, YieldedLosses), max_iters=settings.max_iters)
    add(Events.EPOCH_STARTED, idle.begin)
    add(Events.TERMINATE, run.read_values)
    if run.one_pass:
        add(Events.DATALOADER_STOP_ITERATION, run.refuse_short_pass)
    add(Events.TERMINATE | Events.TERMINATE_SINGLE_EPOCH | Events.EPOCH_COMPLETED, run.close_window)
    if (guard := run.parts.guard) is not None:
        add(Events.EPOCH_STARTED, guard.begin_epoch)
        add(Events.EPOCH_COMPLETED, guard.end_epoch)
        add(Events.COMPLETED, guard.end_run)
    if saver is not None:
        add(epochs_or_event(settings.save_every), saver.mark_due)
        add(StepEvents.EVALUATED, saver.note_evaluation)
        add(Events.TERMINATE, saver.save_terminated)
        add(Events.COMPLETED, saver.remember_end)
        if run.evaluations:
            add(Events.EPOCH_COMPLETED, saver.remember)
    add(Events.EPOCH_COMPLETED, run.stop_without_data)
    add(Events.EPOCH_COMPLETED, run.summarise_epoch)
    if not settings.dry_run:  # one batch tells too little
        add(Events.EPOCH_COMPLETED, idle.end)
    assert module._backend is not None
    add(Events.EPOCH_COMPLETED, Drift(module, engine.state.optimizers, module._backend.device).end)
    add(Events.EPOCH_COMPLETED, run.step_epoch_schedules)
    if run.evaluations:
        add(epochs_or_event(settings.validate_every), run.validate)
    add(Events.COMPLETED, run.summarise_rest)
    if not settings.dry_run:
        add(Events.COMPLETED, idle.end_run)
    if saver is not None:
        add(Events.COMPLETED, saver.save_end)
    add(Events.INTERRUPT, run.note_interrupt)
    if settings.max_iters is not None and settings.max_epochs is not None and run.epoch_length is None:
        add(Events.ITERATION_COMPLETED(once=settings.max_iters), run.stop_at_max_iters)
    for target in (*settings.handlers, module):
        register_events_of(engine, target)
    for target in (*settings.handlers, module):
        register_hooks(engine, target)
    if lengths is not None:
        add(Events.EPOCH_STARTED, lengths.take)  # a hook may have changed the data
    if group is not None:
        add(Events.EPOCH_COMPLETED, Agreement(group, module).end_epoch)
    add(Events.ITERATION_COMPLETED(every=settings.log_every), run.read_values)  # with what the hooks have logged
    add(Events.EPOCH_COMPLETED | Events.COMPLETED, run.close_row)
    progress = Progress(run.recorder, history=run.history) if settings.progress else None
    if progress is not None:
        register_hooks(engine, progress)  # after the hooks, to show what they have logged
        for evaluation, *_ in run.evaluations:
            register_hooks(evaluation.engine, progress, evaluation=True)
    if saver is not None and past is not None and past.after is not None:
        add(Events.STARTED, partial(saver.restore, parts=past.parts))
        add(Events.STARTED, past.release)
        add(Events.STARTED, run.go_on)
        if progress is not None and past.after != Events.EPOCH_COMPLETED:
            add(Events.STARTED, lambda engine: progress.begin(engine, run.epoch_start))
    run.on_validate = boundary.before_evaluation
    for evaluation, *_ in run.evaluations:
        watch(evaluation, boundary)
    for event in WITH_BATCH:
        if engine._table.slots[event].records:  # they may ask for an interruption
            add(event, boundary.put_off)
    if saver is not None:
        add(Events.STARTED, saver.save_start)
    add(Events.ITERATION_COMPLETED, boundary.at_iteration)
    add(Events.EPOCH_COMPLETED, boundary.at_epoch_end)
    if saver is not None:
        add(Events.INTERRUPT, saver.save_interrupted)


def _tell_iteration(group: Group, engine: Engine) -> None:
    group.iteration = engine.state.iteration
