"""The event engine: everything that `ignite.engine` users import, and what stands under `TrainModule.fit`."""

from framework.data.replay import ReproducibleBatchSampler, update_dataloader
from framework.engine.attached_metrics import attach_metrics
from framework.engine.deterministic import DeterministicEngine, keep_random_state
from framework.engine.dispatch import RemovableEventHandle
from framework.engine.engine import Engine
from framework.engine.events import CallableEventWithFilter, EventEnum, Events, EventsList
from framework.engine.state import State
from framework.engine.supervised import create_supervised_evaluator, create_supervised_trainer
from framework.engine.supervised_steps import (
    supervised_evaluation_step,
    supervised_evaluation_step_amp,
    supervised_training_step,
    supervised_training_step_amp,
    supervised_training_step_apex,
    supervised_training_step_tpu,
)

__all__ = [
    "CallableEventWithFilter",
    "DeterministicEngine",
    "Engine",
    "EventEnum",
    "Events",
    "EventsList",
    "RemovableEventHandle",
    "ReproducibleBatchSampler",
    "State",
    "attach_metrics",
    "create_supervised_evaluator",
    "create_supervised_trainer",
    "keep_random_state",
    "supervised_evaluation_step",
    "supervised_evaluation_step_amp",
    "supervised_training_step",
    "supervised_training_step_amp",
    "supervised_training_step_apex",
    "supervised_training_step_tpu",
    "update_dataloader",
]
