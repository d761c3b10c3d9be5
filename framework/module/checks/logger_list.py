"""What `loggers=` may hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from framework.errors import SettingError
from framework.loggers.base import VERBS, Logger

_OURS = "CSVLogger, TensorBoardLogger, WandbLogger, MLflowLogger, TrackioLogger"


def check_loggers(loggers: Any) -> None:
    """Refuses what is no list of loggers.

    Raises:
        SettingError: saying what came.
    """
    if isinstance(loggers, str) or not isinstance(loggers, Sequence):
        hint = " Put it in a list: loggers=[...]." if isinstance(loggers, Logger) else f" There are {_OURS}, or one of your own."
        raise SettingError(f"loggers should be a list of loggers, such as [CSVLogger()], got {loggers!r}.{hint}")
    for position, logger in enumerate(loggers):
        if isinstance(logger, type):
            raise SettingError(f"loggers should hold objects, got the class {logger.__name__}. Write {logger.__name__}(...).")
        missing = [verb for verb in VERBS if not callable(getattr(logger, verb, None))]
        if missing:
            raise SettingError(
                f"loggers holds {logger!r}, which has no {', '.join(missing)}. A logger has {', '.join(VERBS)}: inherit from "
                f"framework.Logger, which has them all, or use one of {_OURS}."
            )
        if any(logger is other for other in loggers[:position]):
            raise SettingError(f"loggers holds {logger!r} twice, so it would be told everything twice. Leave one out.")
