"""Engines that train and evaluate a model on pairs (x, y)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from framework.engine.attached_metrics import attach_metrics
from framework.engine.deterministic import DeterministicEngine
from framework.engine.engine import Engine
from framework.engine.pair_steps import Device

_FRONT_DOOR = "framework.engine"
_AMP_MODES = (None, "amp", "apex")


def create_supervised_trainer(
    model: nn.Module,
    optimizer: Optimizer,
    loss_fn: Callable[..., Tensor],
    device: Device = None,
    non_blocking: bool = False,
    prepare_batch: Callable[..., Any] | None = None,
    output_transform: Callable[..., Any] | None = None,
    deterministic: bool = False,
    *,
    model_transform: Callable[[Any], Any] | None = None,
    amp_mode: str | None = None,
    scaler: bool | torch.amp.GradScaler = False,
    gradient_accumulation_steps: int = 1,
    model_fn: Callable[[nn.Module, Any], Any] | None = None,
) -> Engine:
    """Returns an engine that trains `model`.

    Args:
        deterministic: return a `DeterministicEngine`.
        amp_mode: None for full precision, "amp" for torch.amp, "apex" for NVIDIA Apex.
        scaler: with "amp": a `GradScaler`, or True for one made here, which is then at `state.scaler`.

    The other arguments are those of `supervised_training_step`. The step is looked up under its public name when this is called, so
    that one can be replaced.

    Raises:
        ValueError: an unknown `amp_mode`, a scaler without "amp", "amp" on an xla or mps device, accumulation of less than 1.
        ImportError: Apex or torch.amp is not there.
        RuntimeError: an xla device without torch_xla.

    Example:
        >>> import torch
        >>> from framework.engine import create_supervised_trainer
        >>> model = torch.nn.Linear(1, 1)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> trainer = create_supervised_trainer(model, optimizer, torch.nn.functional.mse_loss, gradient_accumulation_steps=2)
        >>> x = torch.ones(4, 1)
        >>> trainer.run([(x, 3 * x)] * 100).output < 1e-6
        True
    """
    mode = _mode(device, amp_mode, scaler)
    options: dict[str, Any] = {"model_transform": model_transform, "model_fn": model_fn}
    made: torch.amp.GradScaler | None = None
    if mode == "amp":
        made = _new_scaler(device) if scaler is True else None
        options["scaler"] = made if made is not None else scaler or None
    step = _public(f"supervised_training_step_{mode}" if mode else "supervised_training_step")(
        model,
        optimizer,
        loss_fn,
        device,
        non_blocking,
        prepare_batch,
        output_transform,
        gradient_accumulation_steps=gradient_accumulation_steps,
        **options,
    )
    trainer = DeterministicEngine(step) if deterministic else Engine(step)
    if made is not None:
        trainer.state.scaler = made
    return trainer


def create_supervised_evaluator(
    model: nn.Module,
    metrics: Mapping[str, Any] | None = None,
    device: Device = None,
    non_blocking: bool = False,
    prepare_batch: Callable[..., Any] | None = None,
    output_transform: Callable[..., Any] | None = None,
    *,
    model_transform: Callable[[Any], Any] | None = None,
    amp_mode: str | None = None,
    model_fn: Callable[[nn.Module, Any], Any] | None = None,
) -> Engine:
    """Returns an engine that evaluates `model`.

    Args:
        metrics: by name, torchmetrics, or Ignite's, or your own, as `attach_metrics` takes them; results are in `state.metrics`.
        amp_mode: None for full precision, "amp" for torch.amp.

    The other arguments are those of `supervised_evaluation_step`.

    Raises:
        ValueError: an unknown `amp_mode`, or "amp" on an xla or mps device.
        ImportError: torch.amp is not there.
        RuntimeError: an xla device without torch_xla.

    Example:
        >>> import torch
        >>> from framework.engine import create_supervised_evaluator
        >>> evaluator = create_supervised_evaluator(torch.nn.Identity())
        >>> evaluator.run([(torch.ones(1), torch.zeros(1))]).output
        (tensor([1.]), tensor([0.]))
    """
    mode = _mode(device, amp_mode, scaler=False)
    name = "supervised_evaluation_step_amp" if mode == "amp" else "supervised_evaluation_step"
    step = _public(name)(
        model, device, non_blocking, prepare_batch, output_transform, model_transform=model_transform, model_fn=model_fn
    )
    evaluator = Engine(step)
    attach_metrics(evaluator, metrics or {}, device)
    return evaluator


def _mode(device: Device, amp_mode: str | None, scaler: bool | torch.amp.GradScaler) -> str:
    """Returns the ending of the step's name: "", "amp", "apex" or "tpu"."""
    kind = "" if device is None else device.type if isinstance(device, torch.device) else device.split(":")[0]
    if amp_mode not in _AMP_MODES:
        raise ValueError(f"amp_mode={amp_mode!r} is unknown: it is 'amp', 'apex' or None for full precision.")
    if kind == "xla" and find_spec("torch_xla") is None:
        raise RuntimeError("In order to run on TPU, please install PyTorch XLA")
    if amp_mode is not None and kind in ("xla", "mps"):
        raise ValueError(f"amp_mode cannot be used with {kind} device. Consider using amp_mode=None or device='cuda'.")
    if scaler is not False and amp_mode != "amp":
        raise ValueError(f"scaler argument is {scaler}, but amp_mode is {amp_mode}. Consider using amp_mode='amp'.")
    return amp_mode or ("tpu" if kind == "xla" else "")


def _new_scaler(device: Device) -> torch.amp.GradScaler:
    try:
        from torch.amp import GradScaler
    except ImportError as error:
        raise ImportError("Please install torch>=2.3.1 to use scaler argument.") from error
    best = "cuda" if torch.cuda.is_available() else "cpu"
    return GradScaler(best if device is None else torch.device(device).type)


def _public(name: str) -> Any:
    return getattr(import_module(_FRONT_DOOR), name)
