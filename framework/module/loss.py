"""What `training_step` may return, and how the loss is taken out of it."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

from torch import Tensor

from framework.errors import NonFiniteError, StepError

_ALLOWED = "training_step should return the loss as a scalar tensor, or a mapping with it under 'loss' and other scalars beside it"
_HINTS = {
    tuple: " Return {'loss': loss, 'name': scalar}.",
    int: " A number has no gradients: leave .item() out.",
    float: " A number has no gradients: leave .item() and float() out.",
}


def split_output(returned: Any) -> tuple[Tensor, Mapping[str, Any]]:
    """Returns the loss, and the other scalars by name.

    Raises:
        StepError: anything but a scalar tensor with gradients, or a mapping that has one under "loss".
    """
    if isinstance(returned, Mapping):
        if "loss" not in returned:
            raise StepError(f"{_ALLOWED}; got a mapping without 'loss', with the keys {list(returned)}.")
        if "n" in returned:
            raise StepError("training_step returned the key 'n', which is kept for sample counts; record it under another name.")
        rest = {name: value for name, value in returned.items() if name != "loss"}
        return _checked(returned["loss"]), rest
    return _checked(returned), {}


def _checked(loss: Any) -> Tensor:
    if loss is None:
        raise StepError(f"{_ALLOWED}; got None. Did you forget to return it?")
    if not isinstance(loss, Tensor):
        came = f"{loss!r} ({type(loss).__name__})" if isinstance(loss, int | float | str) else f"a {type(loss).__name__}"
        raise StepError(f"{_ALLOWED}; got {came}.{_HINTS.get(type(loss), '')}")
    if loss.dim() != 0:
        raise StepError(f"{_ALLOWED}; got a tensor of shape {tuple(loss.shape)}. Reduce it with .mean() or .sum().")
    if not loss.requires_grad:
        raise StepError(
            f"{_ALLOWED}; got a loss without gradients (requires_grad is False). It is detached: look for .detach(), .item(), "
            "torch.no_grad(), or parameters that are all frozen."
        )
    return loss


def refuse_non_finite(value: float, iteration: int, epoch: int) -> None:
    """Raises if the loss of an iteration is NaN or infinite.

    Raises:
        NonFiniteError: naming the iteration.
    """
    if not isfinite(value):
        raise NonFiniteError(
            f"The loss is {value} in iteration {iteration} (epoch {epoch}). Look at the learning rate, at the batch for NaN or "
            "infinite inputs, and at logarithms and divisions; clip_norm=1.0 limits exploding gradients. "
            "nan='ignore' trains on regardless."
        )
