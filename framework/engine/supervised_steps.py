"""Process functions for supervised training and evaluation, one for each backend.

All are thin faces of the one step of `framework.backends`: what they differ in is the backend they hand to it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from framework.backends.amp import AMP
from framework.backends.apex import LegacyApex
from framework.backends.autocast import DTYPES
from framework.backends.plain import Plain
from framework.backends.xla import XLA
from framework.engine.pair_steps import Device, PairForward, Step, evaluate_on_pairs, train_on_pairs


def supervised_training_step(
    model: nn.Module,
    optimizer: Optimizer,
    loss_fn: Callable[..., Tensor],
    device: Device = None,
    non_blocking: bool = False,
    prepare_batch: Callable[..., Any] | None = None,
    output_transform: Callable[..., Any] | None = None,
    *,
    model_transform: Callable[[Any], Any] | None = None,
    gradient_accumulation_steps: int = 1,
    model_fn: Callable[[nn.Module, Any], Any] | None = None,
) -> Step:
    """Returns a process function that trains `model` in full precision.

    Args:
        model: stays where it is; train mode is set in each step.
        optimizer: steps every `gradient_accumulation_steps` iterations, counted over the run.
        loss_fn: takes (y_pred, y), returns the loss.
        device: where batches are moved; None leaves them.
        non_blocking: copy asynchronously where the batch is in pinned memory.
        prepare_batch: takes (batch, device, non_blocking), returns (x, y). By default the batch is (x, y) and is moved.
        output_transform: takes (x, y, y_pred, loss), returns `state.output`. By default `loss.item()`.
        model_transform: takes the model's output, returns y_pred.
        gradient_accumulation_steps: iterations whose gradients are averaged for one step.
        model_fn: takes (model, x), returns the model's output. By default `model(x)`.

    Raises:
        ValueError: `gradient_accumulation_steps` is not above 0.

    Example:
        >>> import torch
        >>> from framework.engine import Engine, supervised_training_step
        >>> model = torch.nn.Linear(1, 1)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> trainer = Engine(supervised_training_step(model, optimizer, torch.nn.functional.mse_loss))
        >>> x = torch.ones(4, 1)
        >>> trainer.run([(x, 3 * x)] * 50).output < 1e-6
        True
    """
    backend = Plain(torch.device(device or "cpu"))
    return train_on_pairs(
        backend,
        PairForward(model, device, non_blocking, prepare_batch, model_transform, model_fn),
        optimizer,
        loss_fn,
        output_transform,
        gradient_accumulation_steps,
    )


def supervised_training_step_amp(
    model: nn.Module,
    optimizer: Optimizer,
    loss_fn: Callable[..., Tensor],
    device: Device = None,
    non_blocking: bool = False,
    prepare_batch: Callable[..., Any] | None = None,
    output_transform: Callable[..., Any] | None = None,
    scaler: torch.amp.GradScaler | None = None,
    *,
    model_transform: Callable[[Any], Any] | None = None,
    gradient_accumulation_steps: int = 1,
    model_fn: Callable[[nn.Module, Any], Any] | None = None,
    amp_dtype: torch.dtype | None = None,
    device_type: str | None = None,
) -> Step:
    """Returns a process function that trains `model` with `torch.amp`.

    Args:
        scaler: scales the loss, for fp16; None for no scaling.
        amp_dtype: float16 or bfloat16. By default float16 with a scaler, else what the device is best at.
        device_type: the kind of device to cast on; that of `device` by default, the model's where that is None.

    The other arguments are those of `supervised_training_step`.

    Raises:
        ImportError: this torch has no `torch.amp.autocast`.
        ValueError: `gradient_accumulation_steps` is not above 0, or another `amp_dtype`.

    Example:
        >>> import torch
        >>> from framework.engine import Engine, supervised_training_step_amp
        >>> model = torch.nn.Linear(1, 1)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> trainer = Engine(supervised_training_step_amp(model, optimizer, torch.nn.functional.mse_loss))
        >>> x = torch.ones(4, 1)
        >>> trainer.run([(x, 3 * x)] * 50).output < 1e-3
        True
    """
    try:
        backend = _amp_backend(model, device, scaler, amp_dtype, device_type)
        forward = PairForward(model, device, non_blocking, prepare_batch, model_transform, model_fn)
        return train_on_pairs(backend, forward, optimizer, loss_fn, output_transform, gradient_accumulation_steps)
    except ImportError as error:
        raise ImportError("Please install torch>=1.12.0 to use amp_mode='amp'.") from error


def supervised_training_step_apex(
    model: nn.Module,
    optimizer: Optimizer,
    loss_fn: Callable[..., Tensor],
    device: Device = None,
    non_blocking: bool = False,
    prepare_batch: Callable[..., Any] | None = None,
    output_transform: Callable[..., Any] | None = None,
    *,
    model_transform: Callable[[Any], Any] | None = None,
    gradient_accumulation_steps: int = 1,
    model_fn: Callable[[nn.Module, Any], Any] | None = None,
) -> Step:
    """Returns a process function that trains `model` with NVIDIA Apex's `apex.amp`, initialized by the caller.

    The arguments are those of `supervised_training_step`.

    Raises:
        ModuleNotFoundError: there is no `apex.amp`.
        ValueError: `gradient_accumulation_steps` is not above 0.

    Example:
        >>> from framework.engine import supervised_training_step_apex
        >>> try:
        ...     supervised_training_step_apex(None, None, None)
        ... except ModuleNotFoundError as error:
        ...     print(error)
        Please install apex from ...
    """
    try:
        backend = LegacyApex(torch.device(device or "cuda"))
    except ImportError as error:
        raise ModuleNotFoundError(
            "Please install apex from https://github.com/nvidia/apex to use amp_mode='apex'. NVIDIA removed apex.amp in May 2025 "
            "(last tag 25.05); amp_mode='amp' with scaler=True trains identically to Apex O1."
        ) from error
    return train_on_pairs(
        backend,
        PairForward(model, device, non_blocking, prepare_batch, model_transform, model_fn),
        optimizer,
        loss_fn,
        output_transform,
        gradient_accumulation_steps,
    )


def supervised_training_step_tpu(
    model: nn.Module,
    optimizer: Optimizer,
    loss_fn: Callable[..., Tensor],
    device: Device = None,
    non_blocking: bool = False,
    prepare_batch: Callable[..., Any] | None = None,
    output_transform: Callable[..., Any] | None = None,
    *,
    model_transform: Callable[[Any], Any] | None = None,
    gradient_accumulation_steps: int = 1,
    model_fn: Callable[[nn.Module, Any], Any] | None = None,
) -> Step:
    """Returns a process function that trains `model` on a TPU with torch_xla.

    The arguments are those of `supervised_training_step`.

    Raises:
        ModuleNotFoundError: torch_xla is not installed.
        ValueError: `gradient_accumulation_steps` is not above 0.

    Example:
        >>> from framework.engine import supervised_training_step_tpu
        >>> try:
        ...     supervised_training_step_tpu(None, None, None)
        ... except ModuleNotFoundError as error:
        ...     print(error)
        torch_xla cannot be imported, please install PyTorch XLA.
    """
    try:
        backend = XLA(torch.device(device) if device else None)
    except ImportError as error:
        raise ModuleNotFoundError("torch_xla cannot be imported, please install PyTorch XLA.") from error
    return train_on_pairs(
        backend,
        PairForward(model, device, non_blocking, prepare_batch, model_transform, model_fn),
        optimizer,
        loss_fn,
        output_transform,
        gradient_accumulation_steps,
    )


def supervised_evaluation_step(
    model: nn.Module,
    device: Device = None,
    non_blocking: bool = False,
    prepare_batch: Callable[..., Any] | None = None,
    output_transform: Callable[..., Any] | None = None,
    *,
    model_transform: Callable[[Any], Any] | None = None,
    model_fn: Callable[[nn.Module, Any], Any] | None = None,
) -> Step:
    """Returns a process function that evaluates `model`, in eval mode and without gradients.

    Args:
        output_transform: takes (x, y, y_pred), returns `state.output`. By default (y_pred, y).

    The other arguments are those of `supervised_training_step`.

    Example:
        >>> import torch
        >>> from framework.engine import Engine, supervised_evaluation_step
        >>> evaluator = Engine(supervised_evaluation_step(torch.nn.Identity()))
        >>> evaluator.run([(torch.ones(1), torch.zeros(1))]).output
        (tensor([1.]), tensor([0.]))
    """
    backend = Plain(torch.device(device or "cpu"))
    forward = PairForward(model, device, non_blocking, prepare_batch, model_transform, model_fn)
    return evaluate_on_pairs(backend, forward, output_transform)


def supervised_evaluation_step_amp(
    model: nn.Module,
    device: Device = None,
    non_blocking: bool = False,
    prepare_batch: Callable[..., Any] | None = None,
    output_transform: Callable[..., Any] | None = None,
    *,
    model_transform: Callable[[Any], Any] | None = None,
    model_fn: Callable[[nn.Module, Any], Any] | None = None,
    amp_dtype: torch.dtype | None = None,
    device_type: str | None = None,
) -> Step:
    """Returns a process function that evaluates `model` with `torch.amp`, in eval mode and without gradients.

    The arguments are those of `supervised_evaluation_step` and `supervised_training_step_amp`.

    Raises:
        ImportError: this torch has no `torch.amp.autocast`.

    Example:
        >>> import torch
        >>> from framework.engine import Engine, supervised_evaluation_step_amp
        >>> evaluator = Engine(supervised_evaluation_step_amp(torch.nn.Linear(1, 1)))
        >>> evaluator.run([(torch.ones(1, 1), torch.zeros(1))]).output[0].dtype
        torch.bfloat16
    """
    try:
        backend = _amp_backend(model, device, None, amp_dtype, device_type)
        forward = PairForward(model, device, non_blocking, prepare_batch, model_transform, model_fn)
        return evaluate_on_pairs(backend, forward, output_transform)
    except ImportError as error:
        raise ImportError("Please install torch>=1.12.0 to use amp_mode='amp'.") from error


def _amp_backend(
    model: nn.Module, device: Device, scaler: torch.amp.GradScaler | None, dtype: torch.dtype | None, device_type: str | None
) -> AMP:
    parameter = next(model.parameters(), None)
    found = torch.device(device_type or device or (parameter.device if parameter is not None else "cpu"))
    precision = (
        "fp16" if dtype is None and scaler is not None else next((name for name, known in DTYPES.items() if known is dtype), None)
    )
    if dtype is not None and precision is None:
        raise ValueError(f"amp_dtype should be torch.float16 or torch.bfloat16, got {dtype}.")
    return AMP(found, precision, scaler=scaler or torch.amp.GradScaler(found.type, enabled=False))
