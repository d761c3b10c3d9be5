"""NVIDIA Apex: its `apex.amp` where that Apex still has it, else torch.amp with the same numbers."""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from framework.backends.amp import AMP
from framework.backends.autocast import F
from framework.backends.base import Backend, Probe
from framework.backends.ownership import parameters_of
from framework.backends.plain import Plain
from framework.backends.report import StepReport, watched_step
from framework.errors import AcceleratorError, ModuleError

_AMP_FUNCTIONS = ("initialize", "scale_loss", "master_params", "state_dict", "load_state_dict")
_LEVELS = ("O0", "O1", "O2", "O3")


class Apex(Backend):
    """Trains on a CUDA device at an optimization level of NVIDIA Apex.

    An Apex that still has `apex.amp` (up to tag 25.05) runs it. Of later ones, "O0" is full precision and "O1" is `torch.amp` in
    fp16 with a gradient scaler, which trains identically; "O2" and "O3" are refused. Apex's fused optimizers are used as given.
    At "O2" and "O3" Apex casts what goes into the module's own `forward`: let the steps call `self(x)`.

    Args:
        opt_level: "O0", "O1", "O2" or "O3".
        device: a CUDA device.

    Raises:
        AcceleratorError: no Apex, no CUDA device, or a level that is unknown or that this Apex does not have.

    Example:
        >>> from framework import AcceleratorError, ModuleError, Apex
        >>> try:
        ...     Apex(opt_level="O1")
        ... except AcceleratorError as error:
        ...     print(error)
        accelerator='apex' needs ...
    """

    def __init__(self, opt_level: str = "O1", *, device: torch.device | str = "cuda") -> None:
        if opt_level not in _LEVELS:
            raise AcceleratorError(f"opt_level={opt_level!r} is unknown. It is one of {', '.join(map(repr, _LEVELS))}.")
        probe = self.probe()
        if not probe.ok:
            raise AcceleratorError(probe.reason)
        place = torch.device(device)
        inner: Backend = LegacyApex(place, opt_level) if _has_legacy_amp() else _modern(place, opt_level)
        super().__init__(place, inner.precision)
        self._inner = inner
        self.backward, self.unscale, self.stepped_parameters = inner.backward, inner.unscale, inner.stepped_parameters
        self.step_optimizer, self.end_window = inner.step_optimizer, inner.end_window

    @property
    def name(self) -> str:
        return "apex"

    @classmethod
    def probe(cls) -> Probe:
        reason = _why_not()
        return Probe(reason is None, reason or "available")

    @property
    def takes_closure(self) -> bool:
        return self._inner.takes_closure

    def adopt(
        self,
        model: nn.Module,
        optimizers: Mapping[str, Optimizer],
        replaced: Mapping[nn.Parameter, nn.Parameter] | None = None,
    ) -> None:
        self._inner.adopt(model, optimizers, replaced)

    def autocast(self, function: F) -> F:
        return self._inner.autocast(function)

    def state_dict(self) -> dict[str, Any]:
        return self._inner.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._inner.load_state_dict(state)


class LegacyApex(Backend):
    """Scales the loss with `apex.amp`.

    Args:
        device: where the model is.
        opt_level: handed to `apex.amp.initialize` when the optimizers are adopted. Who does not call `adopt` has initialized them.

    Raises:
        ImportError: there is no `apex.amp`.
    """

    def __init__(self, device: torch.device, opt_level: str = "O1") -> None:
        super().__init__(device, "fp32" if opt_level == "O0" else "fp16")
        self._amp: Any = importlib.import_module("apex.amp")
        self._opt_level = opt_level
        self._own: dict[Optimizer, list[nn.Parameter]] = {}  # the model's parameters, where optimizers get copies instead

    @classmethod
    def probe(cls) -> Probe:
        return Probe(_has_legacy_amp(), "available" if _has_legacy_amp() else "this Apex has no apex.amp")

    @property
    def takes_closure(self) -> bool:
        return self._opt_level == "O0"

    @property
    def _scales(self) -> bool:
        """Whether the loss is scaled: "O0" and "O3" have a scaler that stays at 1."""
        return self._opt_level in ("O1", "O2")

    def adopt(
        self,
        model: nn.Module,
        optimizers: Mapping[str, Optimizer],
        replaced: Mapping[nn.Parameter, nn.Parameter] | None = None,
    ) -> None:
        super().adopt(model, optimizers, replaced)
        for parameter in model.parameters():
            if parameter.dtype is torch.float16:
                raise ModuleError(
                    f"{type(model).__name__} holds a parameter of shape {tuple(parameter.shape)} in float16, which Apex does not "
                    "take. It leaves a model in float16 that was trained at 'O2' or 'O3': call .float() before the next fit."
                )
        if self._opt_level == "O2":
            self._own = {optimizer: list(parameters_of((optimizer,))) for optimizer in optimizers.values()}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # that apex.amp is deprecated; whoever chose it knows
            warnings.simplefilter("ignore", DeprecationWarning)
            self._amp.initialize(model, list(optimizers.values()), opt_level=self._opt_level, verbosity=0)

    def backward(self, loss: Tensor, optimizers: Sequence[Optimizer], parameters: Sequence[nn.Parameter] | None) -> None:
        if parameters is not None and self._own:
            parameters = [own for optimizer in optimizers for own in self._own[optimizer] if own.requires_grad]
        with self._amp.scale_loss(loss, list(optimizers)) as scaled:
            scaled.backward(inputs=parameters)

    def stepped_parameters(self, optimizer: Optimizer) -> Iterable[nn.Parameter]:
        parameters: Iterable[nn.Parameter] = self._amp.master_params(optimizer)
        return parameters

    def step_optimizer(self, optimizer: Optimizer) -> StepReport:
        return watched_step(optimizer, optimizer.step)

    def state_dict(self) -> dict[str, Any]:
        native = self._amp.state_dict()
        scaler = native.get("loss_scaler0")
        if not scaler or not self._scales:
            return {}
        return {"loss_scale": scaler["loss_scale"], "good_steps": scaler["unskipped"], "native": native}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if not self._scales:
            super().load_state_dict(state)
        elif state:
            self._amp.load_state_dict({"loss_scaler0": {"loss_scale": state["loss_scale"], "unskipped": state["good_steps"]}})


def _modern(device: torch.device, opt_level: str) -> Backend:
    if opt_level in ("O2", "O3"):
        raise AcceleratorError(
            f"opt_level={opt_level!r} needs apex.amp, which NVIDIA removed in May 2025 (last tag 25.05). Use 'O1', or "
            "precision='bf16' with accelerator='amp'."
        )
    if opt_level == "O0":
        return Plain(device)
    warnings.warn(
        "This Apex has no apex.amp; running torch.amp fp16 with a gradient scaler, which is what O1 did. Write "
        "accelerator='amp', precision='fp16' to say so yourself.",
        UserWarning,
        stacklevel=2,
    )
    return AMP(device, "fp16")


def _why_not() -> str | None:
    """Returns why Apex cannot be used here, None if it can."""
    if importlib.util.find_spec("apex") is None:
        return (
            "accelerator='apex' needs NVIDIA Apex, which is not installed. It is not on the package index; build it from "
            "NVIDIA/apex or use an NVIDIA container. Nothing is lost with accelerator='amp': Apex O1 and torch.amp fp16 train "
            "identically."
        )
    try:
        apex = importlib.import_module("apex")
    except Exception as error:  # noqa: BLE001  # whatever a broken build raises is the reason to show
        return (
            f"NVIDIA Apex is installed but does not import: {error}. Rebuild it for torch {torch.__version__}, "
            "or use accelerator='amp'."
        )
    if not (_has_legacy_amp() or importlib.util.find_spec("apex.optimizers") is not None):
        return (
            f"The installed package 'apex' ({_place(apex)}) is not NVIDIA Apex (the index's 'apex' is an unrelated web toolkit). "
            "Uninstall it, or use accelerator='amp'."
        )
    if not torch.cuda.is_available():
        return f"accelerator='apex' needs a CUDA GPU; torch.cuda.is_available() is False (torch {torch.__version__})."
    return None


def _place(package: Any) -> str:
    return getattr(package, "__file__", None) or ", ".join(package.__path__)  # a mere folder has no file


def _has_legacy_amp() -> bool:
    try:
        amp: Any = importlib.import_module("apex.amp")
    except Exception:  # noqa: BLE001  # not there, or broken: it cannot be used either way
        return False
    return all(hasattr(amp, function) for function in _AMP_FUNCTIONS)
