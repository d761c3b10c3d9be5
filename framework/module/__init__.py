"""What a user declares, and how it becomes an engine with handlers: TrainModule, its hooks, the adapter, fit."""

from framework.module.hooks import not_a_hook, on
from framework.module.result import FitResult
from framework.module.resuming.verify import verify_resume
from framework.module.schedules import Schedule
from framework.module.step_events import StepEvents
from framework.module.stopping.signals import Interrupted
from framework.module.train_module import TrainModule
from framework.module.trial.find_lr import find_lr
from framework.module.trial.range_test import RangeTest
from framework.module.warmup import warmup_schedule

__all__ = [
    "FitResult",
    "Interrupted",
    "RangeTest",
    "Schedule",
    "StepEvents",
    "TrainModule",
    "find_lr",
    "not_a_hook",
    "on",
    "verify_resume",
    "warmup_schedule",
]
