"""The parts of a training run, put together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import proxy

from torch.optim import Optimizer
from torch.utils.data import DataLoader

from framework.backends.base import Backend
from framework.data.ordered import Ordered, ordered
from framework.data.read_forward import ReadForward
from framework.data.stateful import Stateful
from framework.distributed.group import Group
from framework.distributed.parallel import Parallel
from framework.engine.engine import Engine
from framework.engine.signature import accepts
from framework.errors import DataError, SettingError
from framework.metrics.recorder import Recorder
from framework.module.adapter import compiled, make_trainer
from framework.module.data_source import length_of
from framework.module.evaluation import Evaluation
from framework.module.learning_rates import learning_rates
from framework.module.optimizers import configured_optimizers
from framework.module.ranks.data import refuse_other_data, shares_of
from framework.module.ranks.recorded import RecordedOverRanks
from framework.module.ranks.strategies import group_of
from framework.module.run import Run
from framework.module.schedules import Schedules
from framework.module.settings import FitSettings

if TYPE_CHECKING:
    from framework.module.train_module import TrainModule


class Assembled(NamedTuple):
    """What trains.

    Attributes:
        engine: of the training; it has not run.
        run: the handlers of the run and what they keep.
        optimizers: by name.
        schedules: those of the run.
        source: gives the batches; None where there are none.
        sources: all that give batches, also for evaluations.
        length: tells how many batches a pass over the training data has now; None where the data does not know.
        group: the processes that train together; None for one.
    """

    engine: Engine
    run: Run
    optimizers: dict[str, Optimizer]
    schedules: Schedules
    source: Ordered | None
    sources: list[Ordered]
    length: Callable[[], int | None]
    group: Group | None


def assemble(
    module: TrainModule,
    backend: Backend,
    train: Iterable[Any] | None,
    val: Mapping[str, Iterable[Any]],
    settings: FitSettings,
    seed: int,
    planned: FitSettings | None = None,
    *,
    scheduled: bool = True,
) -> Assembled:
    """Places the module, makes its optimizers and schedules, and puts everything together that one run needs.

    Args:
        module, settings: as `fit` got them.
        backend: where the steps run.
        train, val: batches; those for evaluation by stage.
        seed: of the run.
        planned: with the limits that the schedules are made for; None for those of `settings`.
        scheduled: with the module's schedules; else nothing changes the learning rates.
    """
    planned, group = planned or settings, group_of(backend)
    source = None if train is None else _source(train, seed, settings, group)
    batches = {stage: _ordered_for_evaluation(data, seed, group) for stage, data in val.items()}
    if group is not None:
        if source is not None:
            source.own_to_rank = settings.data_order == "loader"
        refuse_other_data(group, source, batches)
    replaced = backend.place(module)
    optimizers = configured_optimizers(module)
    backend.adopt(module, optimizers, replaced)
    counted = train if group is None else source  # each process gives the steps that all of them take
    length = _epoch_length(counted, settings)
    total_steps = _total_steps(planned, _epoch_length(counted, planned))
    schedules = _schedules(module, optimizers, total_steps) if scheduled else Schedules(None, optimizers, type(module).__name__)
    schedules.refuse_steps_for_epochs(total_steps, planned.max_epochs)
    if schedules.monitored and not val:
        monitor = schedules.monitored[0][1]
        raise DataError(f"Schedule(monitor={monitor!r}) needs val_data, without which it would never step. Give val_data to fit.")
    recorder = Recorder("train", reads_cost_nothing=backend.reads_cost_nothing)
    if group is not None:
        recorder.over_ranks = RecordedOverRanks(group)
        recorder.share = lambda: backend.weight
    recorder.gauge(lambda iteration: learning_rates(optimizers), yields=True)
    compiles = None if settings.compile_options is None else partial(compiled, backend=backend, options=settings.compile_options)
    evaluations = [
        (Evaluation(module, backend, stage, settings.handlers, seed, compiles, group), data, settings.limit_val_batches)
        for stage, data in batches.items()
    ]
    run = Run(module, recorder, schedules, evaluations, settings, None if source is None else backend.feed(source), length)
    on_stepped = schedules.step_after if schedules.by_step else None
    engine, run.parts = make_trainer(module, backend, optimizers, settings, recorder, on_stepped)
    state, counter = engine.state, run.parts.step.counter
    if source is not None:
        source.clock, source.name = lambda: state.iteration, "train_data"
    if isinstance(backend, Parallel):
        backend.source = source
    state.stage = "train"
    state.module = module
    state.seed = seed
    state.recorder = proxy(recorder)  # which looks into the state for the samples of a batch: they would hold each other
    state.optimizers = optimizers
    state.optimizer_steps = counter.steps
    state.grad_norms = counter.grad_norms
    state.directions = {name: up for evaluation, *_ in evaluations for name, up in evaluation.directions().items()}
    for stage, each in batches.items():
        if isinstance(each, Ordered):
            each.name = f"The {stage} data"
    sources = [each for each in (source, *batches.values()) if isinstance(each, Ordered)]
    return Assembled(engine, run, optimizers, schedules, source, sources, partial(_epoch_length, counted, settings), group)


def _source(train: Iterable[Any], seed: int, settings: FitSettings, group: Group | None) -> Ordered:
    if settings.data_order == "loader":  # of several processes, each brings data of its own
        source = ordered(train, seed)
        return ReadForward(train, seed) if isinstance(train, DataLoader) and not isinstance(source, Stateful) else source
    source = ordered(train, seed, seeding=settings.data_order, shares=shares_of(group, whole=settings.batch == "global"))
    if group is not None and isinstance(source, Stateful):
        raise SettingError(
            f"train_data, of class {type(train).__name__}, saves its own position with state_dict, so fit cannot split it over "
            f"{group.world_size} processes: each would train on all of it. Let it give each process its own part, by "
            "framework.rank() and framework.world_size(), and say so with data_order='loader'; or give a plain DataLoader."
        )
    return source


def _ordered_for_evaluation(data: Iterable[Any], seed: int, group: Group | None) -> Iterable[Any]:
    if group is None and not isinstance(data, DataLoader):
        return data
    return ordered(data, seed, shares=shares_of(group), resumes=False)


def _epoch_length(train: Any, settings: FitSettings) -> int | None:
    if settings.epoch_length is not None:
        return settings.epoch_length
    length, limit = length_of(train), settings.limit_train_batches
    return length if limit is None or length is None else min(length, limit)


def _total_steps(settings: FitSettings, length: int | None) -> int | None:
    """Returns the number of optimizer steps of the whole run, None where the length of an epoch is unknown."""
    if length is None:
        return settings.max_iters if settings.accumulate == 1 and settings.max_epochs is None else None
    by_epochs = None if settings.max_epochs is None else settings.max_epochs * length
    ends = [end for end in (settings.max_iters, by_epochs) if end is not None]
    if not ends:  # max_time_s alone
        return None
    epochs, rest = divmod(min(ends), length)
    return epochs * -(-length // settings.accumulate) + -(-rest // settings.accumulate)


def _schedules(module: TrainModule, optimizers: Mapping[str, Any], total_steps: int | None) -> Schedules:
    configure = module.configure_schedulers
    knows_total = accepts(configure, ("optimizers", "total_steps"), {})
    configured = configure(optimizers, total_steps) if knows_total else configure(optimizers)  # type: ignore[call-arg]
    return Schedules(configured, optimizers, type(module).__name__)
