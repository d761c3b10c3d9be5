"""A declarative training framework for PyTorch.

Subclass `TrainModule`, write its steps, call `fit`. What is where, from the top down; imports go down only:

```
cli/         the command line: fit, evaluate, predict, show, report, resume, new
config/      a YAML file and overrides, and the objects they name
module/      what a user declares, and how it becomes an engine with handlers
handlers/    when things happen: progress, early stopping, averaged weights; and what is watched: rates, norms, times, memory
report/      a run as one page of curves
loggers/     where numbers go: metrics.jsonl, CSV, TensorBoard, W&B, MLflow, trackio
distributed/ several processes that train one model: how they join, DDP and FSDP
checkpoint/  how a run is written and read: atomic, verified, without pickle
metrics/     running means and metrics
engine/      the event loop, which knows nothing of models; on top of it deterministic and supervised engines
steps/       the training step, written once: of a returned loss, of yielded losses, of a closure
backends/    where and in which precision a step runs
data/        the order of data: a function of seed and pass, which can be taken up anywhere
seeding.py   random numbers
tracebacks.py  what a user sees of an error: their own frames
errors.py    what is raised when a user's program is mistaken
```

Names are imported when they are first used, so that `import framework` costs next to nothing beyond torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from framework.backends import (
        AMP as AMP,
        XLA as XLA,
        Apex as Apex,
        Backend as Backend,
        Plain as Plain,
        Recording as Recording,
        available_accelerators as available_accelerators,
        select_backend as select_backend,
    )
    from framework.cli import main as main
    from framework.distributed import DDP as DDP, FSDP as FSDP, Strategy as Strategy, rank as rank, world_size as world_size
    from framework.engine import (
        CallableEventWithFilter as CallableEventWithFilter,
        DeterministicEngine as DeterministicEngine,
        Engine as Engine,
        EventEnum as EventEnum,
        Events as Events,
        EventsList as EventsList,
        RemovableEventHandle as RemovableEventHandle,
        ReproducibleBatchSampler as ReproducibleBatchSampler,
        State as State,
        attach_metrics as attach_metrics,
        create_supervised_evaluator as create_supervised_evaluator,
        create_supervised_trainer as create_supervised_trainer,
        keep_random_state as keep_random_state,
        supervised_evaluation_step as supervised_evaluation_step,
        supervised_evaluation_step_amp as supervised_evaluation_step_amp,
        supervised_training_step as supervised_training_step,
        supervised_training_step_amp as supervised_training_step_amp,
        supervised_training_step_apex as supervised_training_step_apex,
        supervised_training_step_tpu as supervised_training_step_tpu,
        update_dataloader as update_dataloader,
    )
    from framework.errors import (
        AcceleratorError as AcceleratorError,
        CheckpointError as CheckpointError,
        ConfigError as ConfigError,
        DataError as DataError,
        FrameworkError as FrameworkError,
        ModuleError as ModuleError,
        NonFiniteError as NonFiniteError,
        RankError as RankError,
        ResumeError as ResumeError,
        SettingError as SettingError,
        StepError as StepError,
    )
    from framework.handlers import (
        EMA as EMA,
        DeviceMemory as DeviceMemory,
        EarlyStopping as EarlyStopping,
        Norms as Norms,
        Progress as Progress,
        Timers as Timers,
    )
    from framework.loggers import (
        CSVLogger as CSVLogger,
        Logger as Logger,
        MLflowLogger as MLflowLogger,
        RunFacts as RunFacts,
        TensorBoardLogger as TensorBoardLogger,
        TrackioLogger as TrackioLogger,
        WandbLogger as WandbLogger,
    )
    from framework.metrics import MetricSet as MetricSet, Recorder as Recorder
    from framework.module import (
        FitResult as FitResult,
        Interrupted as Interrupted,
        RangeTest as RangeTest,
        Schedule as Schedule,
        StepEvents as StepEvents,
        TrainModule as TrainModule,
        find_lr as find_lr,
        not_a_hook as not_a_hook,
        on as on,
        verify_resume as verify_resume,
        warmup_schedule as warmup_schedule,
    )
    from framework.report import RunRecord as RunRecord, read_run as read_run, write_report as write_report
    from framework.seeding import seed_all as seed_all

__version__ = "0.1.0"

_HOMES = {
    "AMP": "backends",
    "AcceleratorError": "errors",
    "Apex": "backends",
    "Backend": "backends",
    "CSVLogger": "loggers",
    "CallableEventWithFilter": "engine",
    "CheckpointError": "errors",
    "ConfigError": "errors",
    "DDP": "distributed",
    "DataError": "errors",
    "DeterministicEngine": "engine",
    "DeviceMemory": "handlers",
    "EMA": "handlers",
    "EarlyStopping": "handlers",
    "Engine": "engine",
    "EventEnum": "engine",
    "Events": "engine",
    "EventsList": "engine",
    "FSDP": "distributed",
    "FitResult": "module",
    "FrameworkError": "errors",
    "Interrupted": "module",
    "Logger": "loggers",
    "MLflowLogger": "loggers",
    "MetricSet": "metrics",
    "ModuleError": "errors",
    "NonFiniteError": "errors",
    "Norms": "handlers",
    "Plain": "backends",
    "Progress": "handlers",
    "RangeTest": "module",
    "RankError": "errors",
    "Recorder": "metrics",
    "Recording": "backends",
    "RemovableEventHandle": "engine",
    "ReproducibleBatchSampler": "engine",
    "ResumeError": "errors",
    "RunFacts": "loggers",
    "RunRecord": "report",
    "Schedule": "module",
    "SettingError": "errors",
    "State": "engine",
    "StepError": "errors",
    "StepEvents": "module",
    "Strategy": "distributed",
    "TensorBoardLogger": "loggers",
    "Timers": "handlers",
    "TrackioLogger": "loggers",
    "TrainModule": "module",
    "WandbLogger": "loggers",
    "XLA": "backends",
    "attach_metrics": "engine",
    "available_accelerators": "backends",
    "create_supervised_evaluator": "engine",
    "create_supervised_trainer": "engine",
    "find_lr": "module",
    "keep_random_state": "engine",
    "main": "cli",
    "not_a_hook": "module",
    "on": "module",
    "rank": "distributed",
    "read_run": "report",
    "seed_all": "seeding",
    "select_backend": "backends",
    "supervised_evaluation_step": "engine",
    "supervised_evaluation_step_amp": "engine",
    "supervised_training_step": "engine",
    "supervised_training_step_amp": "engine",
    "supervised_training_step_apex": "engine",
    "supervised_training_step_tpu": "engine",
    "update_dataloader": "engine",
    "verify_resume": "module",
    "warmup_schedule": "module",
    "world_size": "distributed",
    "write_report": "report",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'framework' has no attribute {name!r}")
    value = getattr(import_module(f"framework.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
