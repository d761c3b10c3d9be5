"""The settings of `fit`, checked together before anything else happens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from framework.backends.base import Backend
from framework.engine.events import EventLike, EventsList
from framework.errors import SettingError


@dataclass(frozen=True, slots=True, kw_only=True)
class FitSettings:
    """What `fit` was told. See `TrainModule.fit` for the meaning of each.

    Raises:
        SettingError: a value of a wrong type or out of range.
    """

    max_epochs: int | None
    max_iters: int | None
    epoch_length: int | None
    validate_every: int | EventLike
    limit_train_batches: int | None
    limit_val_batches: int | None
    log_every: int
    accelerator: str | Backend
    precision: str | None
    accumulate: int
    clip_norm: float | None
    clip_value: float | None
    compile: bool | Mapping[str, Any]
    seed: int | None
    deterministic: bool
    nan: str
    handlers: Sequence[Any]
    progress: bool

    def __post_init__(self) -> None:
        for name in ("max_epochs", "max_iters", "epoch_length", "limit_train_batches", "limit_val_batches"):
            whole(name, getattr(self, name), optional=True)
        for name in ("log_every", "accumulate"):
            whole(name, getattr(self, name))
        whole("seed", self.seed, least=0, most=2**63 - 1, optional=True)
        for name in ("clip_norm", "clip_value"):
            _positive(name, getattr(self, name))
        for name in ("deterministic", "progress"):
            _flag(name, getattr(self, name))
        if self.max_epochs is None and self.max_iters is None:
            raise SettingError("fit needs an end: give max_epochs, max_iters, or both; the first reached ends the run.")
        if self.epoch_length is not None and self.limit_train_batches is not None:
            raise SettingError(
                f"epoch_length={self.epoch_length} and limit_train_batches={self.limit_train_batches} contradict each other: "
                "the first carries the data on from epoch to epoch, the second starts it anew. Give one of them."
            )
        if not isinstance(self.validate_every, str | EventsList) and not hasattr(self.validate_every, "name"):
            whole("validate_every", self.validate_every, hint="epochs, or an event such as Events.ITERATION_COMPLETED(every=500)")
        if not isinstance(self.compile, bool | Mapping):
            raise SettingError(
                f"compile={self.compile!r}: compile should be True, False, or options of torch.compile such as {{'mode': "
                f"'max-autotune'}}; got {type(self.compile).__name__}."
            )
        if self.nan not in ("stop", "ignore"):
            raise SettingError(f"nan={self.nan!r} is unknown: it is 'stop' or 'ignore'.")
        if isinstance(self.handlers, str) or not isinstance(self.handlers, Sequence):
            raise SettingError(f"handlers should be a list of objects with on_<event> methods, got {self.handlers!r}.")

    @property
    def compile_options(self) -> Mapping[str, Any] | None:
        """Options of torch.compile, None where nothing is compiled."""
        return self.compile if isinstance(self.compile, Mapping) else {} if self.compile else None


def whole(name: str, value: Any, *, least: int = 1, most: int | None = None, optional: bool = False, hint: str = "") -> None:
    """Refuses a value that is not a whole number from `least` to `most`.

    Raises:
        SettingError: it is not.
    """
    if value is None and optional:
        return
    if not isinstance(value, int) or isinstance(value, bool) or value < least or (most is not None and value > most):
        span = f"of at least {least}" if most is None else f"from {least} to {most}"
        allowed = f"a whole number {span}{f' ({hint})' if hint else ''}{' or None' if optional else ''}"
        raise SettingError(f"{name}={value!r}: {name} should be {allowed}, got {value!r} ({type(value).__name__}).")


def _positive(name: str, value: Any) -> None:
    if value is not None and (not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < float("inf")):
        raise SettingError(f"{name}={value!r}: {name} should be a number above 0, or None for no limit.")


def _flag(name: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise SettingError(f"{name}={value!r}: {name} should be True or False, got {type(value).__name__}.")
