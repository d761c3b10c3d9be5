"""The settings of `fit`, checked together before anything else happens."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from math import inf, isfinite
from numbers import Integral, Real
from os import PathLike
from pathlib import Path
from typing import Any

from framework.backends.base import Backend
from framework.distributed.strategy import Strategy
from framework.engine.events import EventLike, EventsList
from framework.errors import SettingError
from framework.loggers.base import Logger
from framework.module.checks.logger_list import check_loggers

DATA_ORDERS = ("batch", "sample", "loader")
NAN = ("stop", "skip", "ignore")
RESUME = ("auto", "never", "must")
STRATEGIES = ("auto", "ddp", "fsdp")
BATCH = ("rank", "global")
_OF_BATCHES = "batches; a share of them is int(0.1 * len(loader))"
_OF_EPOCHS = "epochs, or an event such as Events.ITERATION_COMPLETED(every=500)"
_RESUME_MEANT: dict[str, str] = {
    "True": " Did you mean 'must'?",
    "False": " Did you mean 'never'?",
    "None": " Did you mean 'auto'?",
}
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
    strategy: str | Strategy
    batch: str
    sync_batchnorm: bool
    checkpoint_activations: bool
    accumulate: int
    clip_norm: float | None
    clip_value: float | None
    compile: bool | Mapping[str, Any]
    seed: int | None
    deterministic: bool
    nan: str
    debug: bool
    dry_run: bool
    data_order: str
    handlers: Sequence[Any]
    loggers: Sequence[Logger]
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
        for name in ("max_epochs", "max_iters", "epoch_length", "keep"):
            self._take(name, whole(name, getattr(self, name), optional=True))
        for name in ("limit_train_batches", "limit_val_batches"):
            self._take(name, whole(name, getattr(self, name), optional=True, hint=_OF_BATCHES))
        for name in ("log_every", "accumulate"):
            self._take(name, whole(name, getattr(self, name)))
        self._take("seed", whole("seed", self.seed, least=0, most=2**63 - 1, optional=True))
        for name in ("clip_norm", "clip_value", "max_time_s", "save_every_s", "hang_timeout_s"):
            self._take(name, _positive(name, getattr(self, name)))
        for name in ("deterministic", "debug", "dry_run", "progress", "async_save", "sync_batchnorm", "checkpoint_activations"):
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
                self._take(name, whole(name, every, hint=_OF_EPOCHS))
        if not isinstance(self.compile, bool | Mapping):
            raise SettingError(
                f"compile={self.compile!r}: compile should be True, False, or options of torch.compile such as {{'mode': "
                f"'max-autotune'}}; got {type(self.compile).__name__}."
            )
        if not isinstance(self.strategy, Strategy):
            _one_of("strategy", self.strategy, STRATEGIES, ", or a DDP(...) or FSDP(...) with settings")
        _one_of("batch", self.batch, BATCH)
        _one_of("nan", self.nan, NAN)
        if self.debug and self.nan == "ignore":
            raise SettingError(
                "debug=True looks for what nan='ignore' trains on with. Give nan='stop' or nan='skip', or leave debug out."
            )
        _one_of("data_order", self.data_order, DATA_ORDERS)
        _check_run_settings(self)
        if isinstance(self.handlers, str) or not isinstance(self.handlers, Sequence):
            lone = any(name.startswith("on_") for name in dir(self.handlers))
            hint = " Put it in a list: handlers=[...]." if lone else ""
            raise SettingError(f"handlers should be a list of objects with on_<event> methods, got {self.handlers!r}.{hint}")
        check_loggers(self.loggers)

    def _take(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)  # a number of numpy as one of Python

    def as_given(self) -> dict[str, Any]:
        """Returns the settings by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def compile_options(self) -> Mapping[str, Any] | None:
        """Options of torch.compile, None where nothing is compiled."""
        return self.compile if isinstance(self.compile, Mapping) else {} if self.compile else None


def whole(name: str, value: Any, *, least: int = 1, most: int | None = None, optional: bool = False, hint: str = "") -> int | None:
    """Returns a whole number from `least` to `most` as an int, also one of numpy; None only where it is `optional`.

    Raises:
        SettingError: it is none.
    """
    if value is None and optional:
        return None
    number = None if isinstance(value, bool) or not isinstance(value, Integral) else int(value)
    if number is not None and least <= number and (most is None or number <= most):
        return number
    span = f"of at least {least}" if most is None else f"from {least} to {most}"
    allowed = f"a whole number {span}{f' ({hint})' if hint else ''}{' or None' if optional else ''}"
    meant = _number_in(value) if isinstance(value, str) or not hint else None  # 1.0 is a share elsewhere
    near = f" Did you mean {int(meant)}?" if meant is not None and meant == int(meant) and meant >= least else ""
    raise SettingError(f"{name}={value!r}: {name} should be {allowed}, got {value!r} ({type(value).__name__}).{near}")


def _number_in(value: Any) -> float | None:
    """Returns the finite number that a text or a float holds, None where there is none."""
    if not isinstance(value, str | float):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if isfinite(number) else None


def _one_of(name: str, value: Any, allowed: Sequence[str], others: str = "") -> None:
    if value not in allowed:
        raise SettingError(
            f"{name}={value!r} is unknown: it is one of {', '.join(map(repr, allowed))}{others}.{_nearest(value, allowed)}"
        )


def _nearest(value: Any, allowed: Iterable[str]) -> str:
    """Returns a question for the nearest allowed name, with a space before; nothing where none is near."""
    near = get_close_matches(value.lower(), allowed, n=1) if isinstance(value, str) else []
    return f" Did you mean {near[0]!r}?" if near else ""


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
    if Path(settings.run_dir).is_file():
        raise SettingError(f"run_dir={str(settings.run_dir)!r} is a file; it should be a folder, such as 'runs/first'.")
    near = _RESUME_MEANT.get(str(settings.resume), "")
    if settings.resume not in RESUME and isinstance(settings.resume, str) and not Path(settings.resume).exists():
        near = _nearest(settings.resume, RESUME)
    if near or not isinstance(settings.resume, str | PathLike):
        raise SettingError(
            f"resume={settings.resume!r}: resume is one of {', '.join(map(repr, RESUME))}, or the path of a run or a "
            f"checkpoint.{near}"
        )
    if isinstance(settings.allow_changes, str) or not isinstance(settings.allow_changes, Collection):
        raise SettingError(f"allow_changes={settings.allow_changes!r}: it is a list of names of settings, such as ('clip_norm',).")
    if settings.mode not in (None, "min", "max"):
        near = next((f" Did you mean {mode!r}?" for mode in ("min", "max") if str(settings.mode).lower().startswith(mode)), "")
        raise SettingError(f"mode={settings.mode!r}: mode is 'min' or 'max', or None to take it from the metric.{near}")
    if settings.mode is not None and settings.monitor is None:
        raise SettingError(f"mode={settings.mode!r} needs monitor, the metric that it is for, such as monitor='val/loss'.")
    if settings.monitor is not None and not str(settings.monitor).startswith("val/"):
        raise SettingError(
            f"monitor={settings.monitor!r}: monitor is the full name of a metric of val_data, such as 'val/loss' or 'val/accuracy'."
            f"{monitor_meant(settings.monitor)}"
        )


def monitor_meant(monitor: Any) -> str:
    """Returns a question for the full name of a metric of val_data, with a space before; nothing for what is no text."""
    if not isinstance(monitor, str) or not monitor:
        return ""
    metric = re.sub(r"^(val|valid|validation|eval|train|test)[_/.: -]", "", monitor)
    return f" Did you mean 'val/{metric}'?"


def _positive(name: str, value: Any) -> float | None:
    if value is None:
        return None
    number = 0.0 if isinstance(value, bool) or not isinstance(value, Real) else float(value)
    if not 0 < number < inf:
        meant = _number_in(value)
        near = f" Did you mean {meant:g}?" if isinstance(value, str) and meant is not None and meant > 0 else ""
        raise SettingError(f"{name}={value!r}: {name} should be a number above 0, or None for no limit.{near}")
    return value if type(value) in (int, float) else number


def _flag(name: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise SettingError(f"{name}={value!r}: {name} should be True or False, got {type(value).__name__}.")
