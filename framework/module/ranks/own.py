"""What of a run is done by rank 0 alone: handlers that do not ask for all ranks, loggers, bars, lines, files."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from framework.distributed.group import Group
from framework.module.settings import FitSettings


def wants_all_ranks(handler: Any) -> bool:
    """Tells whether a handler runs on every rank: its `all_ranks` says so."""
    return bool(getattr(handler, "all_ranks", False))


def settings_of_rank(settings: FitSettings, group: Group | None) -> FitSettings:
    """Returns the settings for this rank: all of them on rank 0, elsewhere without what rank 0 does for all."""
    if group is None or group.is_main:
        return settings
    handlers = [handler for handler in settings.handlers if wants_all_ranks(handler)]
    return replace(settings, handlers=handlers, loggers=(), progress=False)
