"""A declarative training framework for PyTorch.

Subclass `TrainModule`, write its steps, call `fit`. What is where, from the top down; imports go down only:

```
module/      what a user declares, and how it becomes an engine with handlers
handlers/    when things happen: progress, ...
metrics/     running means and metrics
backends/    where and in which precision a step runs
engine/      the event loop, which knows nothing of models
seeding.py   random numbers
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
    from framework.engine import (
        CallableEventWithFilter as CallableEventWithFilter,
        Engine as Engine,
        EventEnum as EventEnum,
        Events as Events,
        EventsList as EventsList,
        RemovableEventHandle as RemovableEventHandle,
        State as State,
    )
    from framework.errors import (
        AcceleratorError as AcceleratorError,
        DataError as DataError,
        FrameworkError as FrameworkError,
        ModuleError as ModuleError,
        NonFiniteError as NonFiniteError,
        SettingError as SettingError,
        StepError as StepError,
    )
    from framework.handlers import Progress as Progress
    from framework.metrics import MetricSet as MetricSet, Recorder as Recorder
    from framework.module import (
        FitResult as FitResult,
        Schedule as Schedule,
        StepEvents as StepEvents,
        TrainModule as TrainModule,
        not_a_hook as not_a_hook,
        on as on,
    )
    from framework.seeding import seed_all as seed_all

__version__ = "0.1.0"

_HOMES = {
    "AMP": "backends",
    "Apex": "backends",
    "AcceleratorError": "errors",
    "Backend": "backends",
    "CallableEventWithFilter": "engine",
    "DataError": "errors",
    "Engine": "engine",
    "EventEnum": "engine",
    "Events": "engine",
    "EventsList": "engine",
    "FitResult": "module",
    "FrameworkError": "errors",
    "MetricSet": "metrics",
    "ModuleError": "errors",
    "NonFiniteError": "errors",
    "Plain": "backends",
    "Progress": "handlers",
    "Recorder": "metrics",
    "Recording": "backends",
    "RemovableEventHandle": "engine",
    "Schedule": "module",
    "SettingError": "errors",
    "State": "engine",
    "StepError": "errors",
    "StepEvents": "module",
    "TrainModule": "module",
    "XLA": "backends",
    "available_accelerators": "backends",
    "not_a_hook": "module",
    "on": "module",
    "seed_all": "seeding",
    "select_backend": "backends",
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
