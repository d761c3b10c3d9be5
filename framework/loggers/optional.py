"""Packages that only some loggers need, imported when one of those is made."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from framework.errors import SettingError


def needed(module: str, extra: str, logger: str) -> Any:
    """Returns a module of an optional package.

    Args:
        module: its full name.
        extra: the extra that installs it.
        logger: who needs it.

    Raises:
        SettingError: it cannot be imported.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise SettingError(
            f"{logger} needs the package {extra}, which cannot be imported: {error}. Install it: pip install "
            f"'trainmodule[{extra}]'; or leave {logger} out of loggers."
        ) from error
