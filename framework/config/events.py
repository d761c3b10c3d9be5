"""Events in a configuration: `{event: iteration_completed, every: 500}`, or a name alone."""

from __future__ import annotations

from typing import Any

from framework.config.places import Mistakes, Path, nearest, shown
from framework.engine.events import EventEnum, EventLike, Events
from framework.module.hooks import own_events
from framework.module.train_module import TrainModule

FILTERS = ("every", "once", "before", "after")


def read_event(value: Any, path: Path, module_class: type[TrainModule] | None, mistakes: Mistakes) -> EventLike | int | None:
    """Returns the event that a value means; a number, of epochs, is returned as it is.

    Args:
        value: a number; the name of an event, or a mapping with `event` and one of `every` and `once`.
        path: where it stands.
        module_class: may have events of its own.
        mistakes: takes what is wrong; then None is returned.

    Example:
        >>> from framework.config.events import read_event
        >>> from framework.config.places import Mistakes, Tree
        >>> read_event({"event": "epoch_completed", "every": 2}, ("fit", "save_every"), None, Mistakes(Tree())).every
        2
    """
    if isinstance(value, str):
        value = {"event": value}
    if not isinstance(value, dict):
        number: int | None = value
        return number  # fit looks at it
    before = len(mistakes.found)
    for key in value:
        if key not in ("event", *FILTERS):
            mistakes.add((*path, key), f"is unknown.{nearest(key, ('event', *FILTERS))}")
    if "event" not in value:
        mistakes.add(path, "lacks event, the name of one, such as iteration_completed.")
        return None
    known = {event.value: event for event in (*Events, *(own_events(module_class) if module_class else ()))}
    event: EventEnum | None = known.get(str(value["event"]).lower())
    if event is None:
        mistakes.add(
            (*path, "event") if (*path, "event") in mistakes.tree.places else path,
            f"is {shown(value['event'])}, which is no event.{nearest(str(value['event']), known)}",
        )
    if event is None or len(mistakes.found) > before:
        return None
    filters: dict[str, Any] = {key: value[key] for key in FILTERS if key in value}
    try:
        return event(**filters) if filters else event
    except (TypeError, ValueError) as error:
        mistakes.add(path, f"is no event: {error}")
        return None
