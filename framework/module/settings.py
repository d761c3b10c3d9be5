"""The settings of `fit`, checked together before anything else happens."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

from framework.backends.base import Backend
from framework.engine.events import EventLike, EventsList
from framework.errors import SettingError

DATA_ORDERS = ("batch", "sample", "loader")
RESUME = ("auto", "never", "must")
_OF_RUN_DIR: dict[str, Any] = {  # settings that need a run_dir, with their defaults
    "resume": "auto",
    "allow_changes": (),
    "save_every": 1,
    "save_every_s": None,
    "async_save": False,
    "keep": 2,
    "monitor": None,
    "mode": None,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FitSettings:
    """What `fit` was told. See `TrainModule.fit` for the meaning of each.

    Raises:
        SettingError: a value of a wrong type or out of range.
    """

    max_epochs: int | None
    max_iters: int | None
    max_time_s: float | None
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
    data_order: str
    handlers: Sequence[Any]
    progress: bool
    run_dir: str | PathLike[str] | None
    resume: str | PathLike[str]
    allow_changes: Collection[str]
    save_every: int | EventLike
    save_every_s: float | None
    async_save: bool
    keep: int | None
    monitor: str | None
    mode: str | None
    hang_timeout_s: float | None

    def __post_init__(self) -> None:
        for name in ("max_epochs", "max_iters", "epoch_length", "limit_train_batches", "limit_val_batches"):
            whole(name, getattr(self, name), optional=True)
        for name in ("log_every", "accumulate"):
            whole(name, getattr(self, name))
        whole("keep", self.keep, optional=True)
        whole("seed", self.seed, least=0, most=2**63 - 1, optional=True)
        for name in ("clip_norm", "clip_value", "max_time_s", "save_every_s", "hang_timeout_s"):
            _positive(name, getattr(self, name))
        for name in ("deterministic", "progress", "async_save"):
            _flag(name, getattr(self, name))
        if self.max_epochs is None and self.max_iters is None and self.max_time_s is None:
            raise SettingError("fit needs an end: give max_epochs, max_iters or max_time_s; the first reached ends the run.")
        if self.epoch_length is not None and self.limit_train_batches is not None:
            raise SettingError(
                f"epoch_length={self.epoch_length} and limit_train_batches={self.limit_train_batches} contradict each other: "
                "the first carries the data on from epoch to epoch, the second starts it anew. Give one of them."
            )
        for name in ("validate_every", "save_every"):
            every = getattr(self, name)
            if not isinstance(every, str | EventsList) and not hasattr(every, "name"):
                whole(name, every, hint="epochs, or an event such as Events.ITERATION_COMPLETED(every=500)")
        if not isinstance(self.compile, bool | Mapping):
            raise SettingError(
                f"compile={self.compile!r}: compile should be True, False, or options of torch.compile such as {{'mode': "
                f"'max-autotune'}}; got {type(self.compile).__name__}."
            )
        if self.nan not in ("stop", "ignore"):
            raise SettingError(f"nan={self.nan!r} is unknown: it is 'stop' or 'ignore'.")
        if self.data_order not in DATA_ORDERS:
            raise SettingError(f"data_order={self.data_order!r} is unknown: it is one of {', '.join(map(repr, DATA_ORDERS))}.")
        _check_run_settings(self)
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


def _check_run_settings(settings: FitSettings) -> None:
    if settings.run_dir is None:
        given = [name for name, default in _OF_RUN_DIR.items() if getattr(settings, name) != default]
        if given:
            raise SettingError(
                f"{given[0]}={getattr(settings, given[0])!r} needs run_dir, the folder that checkpoints are written to. Give "
                f"run_dir, or leave {given[0]} out."
            )
        return
    if not isinstance(settings.run_dir, str | PathLike) or not str(settings.run_dir):
        raise SettingError(f"run_dir={settings.run_dir!r}: run_dir should be the path of a folder, such as 'runs/first', or None.")
    if not isinstance(settings.resume, str | PathLike):
        raise SettingError(
            f"resume={settings.resume!r}: resume is one of {', '.join(map(repr, RESUME))}, or the path of a run or a checkpoint."
        )
    if isinstance(settings.allow_changes, str) or not isinstance(settings.allow_changes, Collection):
        raise SettingError(f"allow_changes={settings.allow_changes!r}: it is a list of names of settings, such as ('clip_norm',).")
    if settings.mode not in (None, "min", "max"):
        raise SettingError(f"mode={settings.mode!r}: mode is 'min' or 'max', or None to take it from the metric.")
    if settings.mode is not None and settings.monitor is None:
        raise SettingError(f"mode={settings.mode!r} needs monitor, the metric that it is for, such as monitor='val/loss'.")
    if settings.monitor is not None and not str(settings.monitor).startswith("val/"):
        raise SettingError(
            f"monitor={settings.monitor!r}: monitor is the full name of a metric of val_data, such as 'val/loss' or 'val/accuracy'."
        )


def _positive(name: str, value: Any) -> None:
    if value is not None and (not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < float("inf")):
        raise SettingError(f"{name}={value!r}: {name} should be a number above 0, or None for no limit.")


def _flag(name: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise SettingError(f"{name}={value!r}: {name} should be True or False, got {type(value).__name__}.")
