"""The event engine: everything that `ignite.engine` users import, and what stands under `TrainModule.fit`."""

from framework.engine.dispatch import RemovableEventHandle
from framework.engine.engine import Engine
from framework.engine.events import CallableEventWithFilter, EventEnum, Events, EventsList
from framework.engine.state import State

__all__ = [
    "CallableEventWithFilter",
    "Engine",
    "EventEnum",
    "Events",
    "EventsList",
    "RemovableEventHandle",
    "State",
]
