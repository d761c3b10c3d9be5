"""Hands the numbers of a run to its loggers, none of which can stop it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from traceback import extract_tb
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from framework.loggers.base import Logger, RunFacts
from framework.seeding import random_state, set_random_state

if TYPE_CHECKING:
    from framework.module.declared import Declared
    from framework.module.ranks.curves import AnyCurves
    from framework.module.resuming.past import Past
    from framework.module.settings import FitSettings

_IN_WORDS = (str, bool, int, float, type(None))


class Loggers:
    """Hands everything on to each of several loggers. One that raises is left out from then on, with a warning.

    The global random streams stay as they are, whatever a logger draws. Leaving the block with an error closes the loggers as those
    of a run that has failed.

    Args:
        loggers: what `fit` or `evaluate` was given.
    """

    def __init__(self, loggers: Sequence[Logger]) -> None:
        self._given = loggers
        self._left: list[Logger] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if isinstance(error, Exception):  # else somebody wants to be out of here at once, and a service may take its time
            self.close("failed", f"{type(error).__name__}: {error}")

    def begin(self, facts: RunFacts) -> None:
        """Tells that a run begins."""
        self._left = [*self._given]
        self._each("begin", facts)

    def points(self, iteration: int, epoch: int, time_s: float, values: Mapping[str, float]) -> None:
        """Hands on a point of each of some curves."""
        self._each("points", iteration, epoch, time_s, values)

    def row(self, values: Mapping[str, Any]) -> None:
        """Hands on a row of the history."""
        self._each("row", values)

    def close(self, status: str, reason: str) -> None:
        """Tells how the run has ended. Nothing is handed on after that."""
        self._each("close", status, reason)
        self._left = []

    def _each(self, verb: str, *given: Any) -> None:
        for logger in [*self._left]:
            before = random_state()
            try:
                getattr(logger, verb)(*(dict(each) if isinstance(each, Mapping) else each for each in given))
            except Exception as error:  # noqa: BLE001  # whatever it is: it is told, and no reason to end a run
                self._left.remove(logger)
                _tell(logger, verb, error)
            finally:
                set_random_state(before)


def _tell(logger: Logger, verb: str, error: Exception) -> None:
    frame = extract_tb(error.__traceback__)[-1]
    place = f"{Path(frame.filename).name}, line {frame.lineno}"
    warnings.warn(
        f"{type(logger).__name__}.{verb} failed: {type(error).__name__}: {error} ({place}). It gets nothing more of this run, "
        "which goes on without it. Mend the cause, or leave it out of loggers.",
        UserWarning,
        stacklevel=2,
    )


def begin_fit(
    loggers: Loggers, module: Declared, settings: FitSettings, seed: int, curves: AnyCurves | None, past: Past | None
) -> Sequence[Loggers | AnyCurves]:
    """Tells loggers that a `fit` begins or goes on; returns what takes its numbers, the file last: what it holds was told."""
    if settings.loggers:
        goes_on_from = None if past is None else past.iteration
        loggers.begin(facts_of("fit", module, settings.as_given(), seed, curves, goes_on_from))
    return (loggers,) if curves is None else (loggers, curves)


def facts_of(
    verb: str,
    module: Declared,
    settings: Mapping[str, Any],
    seed: int,
    curves: AnyCurves | None = None,
    goes_on_from: int | None = None,
) -> RunFacts:
    """Returns what loggers are told about a run, in plain values.

    Args:
        verb, seed: of the run.
        module: that is trained or evaluated.
        settings: of the verb.
        curves: the file of the run, None for none.
        goes_on_from: the iteration, None for a run that begins.
    """
    points_until = rows_until = -1
    if curves is not None and goes_on_from is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it is read again when the run goes on, and says then what is damaged
            series, history = curves.read()
        points_until = max((points[-1][0] for points in series.values()), default=-1)
        rows_until = max((row.get("iteration", -1) for row in history), default=-1)
    return RunFacts(
        verb=verb,
        module=type(module).__name__,
        hparams=dict(module._hparams["values"]),
        settings={name: _in_words(value) for name, value in settings.items()},
        seed=seed,
        run_dir=None if curves is None else curves.path.parent,
        goes_on_from=goes_on_from,
        points_until=points_until,
        rows_until=rows_until,
    )


def _in_words(value: Any) -> Any:
    """Returns a plain value for a setting: an object by the name of its class, an event by its own."""
    if type(value) in _IN_WORDS:
        return value
    if isinstance(value, PathLike):
        return str(value)
    if isinstance(value, Mapping):
        return {str(name): _in_words(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_in_words(item) for item in value]
    name = getattr(value, "name", None)
    return name if isinstance(name, str) else type(value).__name__
