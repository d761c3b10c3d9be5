"""NVIDIA Apex: what is installed under that name, told apart by what it can do."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from framework.backends.base import Backend, Probe

_AMP_FUNCTIONS = ("initialize", "scale_loss", "master_params", "state_dict", "load_state_dict")


class Apex(Backend):
    """Trains with NVIDIA Apex on a CUDA device. Detected and refused with the reason; its step is not written yet.

    Example:
        >>> from framework.backends import Apex
        >>> "accelerator='apex'" in Apex.probe().reason
        True
    """

    @classmethod
    def probe(cls) -> Probe:
        return Probe(False, _why_not())


class LegacyApex(Backend):
    """Scales the loss with `apex.amp`, whose `initialize` the caller has called.

    Args:
        device: where the model is.
        optimizer: the optimizer that was initialized.

    Raises:
        ImportError: there is no `apex.amp`.
    """

    def __init__(self, device: torch.device, optimizer: Optimizer) -> None:
        super().__init__(device, "fp16")
        self._amp: Any = importlib.import_module("apex.amp")
        self._optimizer = optimizer

    @classmethod
    def probe(cls) -> Probe:
        return Probe(_has_legacy_amp(), "" if _has_legacy_amp() else _why_not())

    def backward(self, loss: Tensor) -> None:
        with self._amp.scale_loss(loss, self._optimizer) as scaled:
            scaled.backward()


def _why_not() -> str:
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
    if not (_has_legacy_amp() or hasattr(apex, "optimizers") or importlib.util.find_spec("apex.optimizers") is not None):
        return (
            f"The installed package 'apex' ({_place(apex)}) is not NVIDIA Apex (the index's 'apex' is an unrelated web toolkit). "
            "Uninstall it, or use accelerator='amp'."
        )
    if not torch.cuda.is_available():
        return f"accelerator='apex' needs a CUDA GPU; torch.cuda.is_available() is False (torch {torch.__version__})."
    return (
        "accelerator='apex' found NVIDIA Apex, whose step this version does not have yet. Use accelerator='amp' with "
        "precision='fp16': it trains identically to Apex O1, and takes Apex's fused optimizers."
    )


def _place(package: Any) -> str:
    return getattr(package, "__file__", None) or ", ".join(package.__path__)  # a mere folder has no file


def _has_legacy_amp() -> bool:
    try:
        amp: Any = importlib.import_module("apex.amp")
    except Exception:  # noqa: BLE001  # not there, or broken: it cannot be used either way
        return False
    return all(hasattr(amp, function) for function in _AMP_FUNCTIONS)
