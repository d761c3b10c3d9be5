"""Arguments that `fit` and the other verbs do not have: refused, with the one that was meant."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from dataclasses import fields
from typing import NoReturn

from framework.errors import SettingError
from framework.module.checks.foreign_settings import FOREIGN_ARGUMENTS, FOREIGN_SETTINGS
from framework.module.settings import FitSettings

SETTINGS = tuple(field.name for field in fields(FitSettings))
"""Of `fit`, by name."""

_WITHOUT_TRAINING = ("evaluate", "predict", "predict_batches")


def refuse_unknown(names: Collection[str], known: Collection[str], verb: str) -> NoReturn:
    """Refuses arguments that a verb does not have.

    Args:
        names: the arguments that came, at least one.
        known: those that it has.
        verb: its name.

    Raises:
        SettingError: naming for each the nearest one, or what takes its place.
    """
    raise SettingError(" ".join(f"{verb} has no setting {name!r}. {remedy(name, known, verb)}" for name in names))


def remedy(name: str, known: Collection[str], verb: str) -> str:
    """Returns what to write in the place of an unknown name: the nearest one, or what takes its place here."""
    trains = verb not in _WITHOUT_TRAINING
    foreign = FOREIGN_SETTINGS if trains else FOREIGN_ARGUMENTS
    if name.lower() in foreign:
        return foreign[name.lower()]
    if not trains and name in SETTINGS:
        return "It is one of fit."
    near = difflib.get_close_matches(name.lower(), known, n=1)
    return f"Did you mean {near[0]}?" if near else f"It has {', '.join(known)}."
